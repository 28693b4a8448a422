"""Personal data of Taiwan in text: recognisers with checksums, and fakes that keep form. `recognise.find` is the
door."""
