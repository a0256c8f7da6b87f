"""The version of this project; every other place reads it from here."""

VERSION = "0.1.0"
