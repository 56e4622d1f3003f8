"""The National Stock Exchange of India on loopback: an invented market in the exchange's own file layouts."""
