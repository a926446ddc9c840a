"""The API of AWS in front of the lab: moto's server, whose calls really act."""
