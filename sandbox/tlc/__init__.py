"""The Taxi and Limousine Commission's monthly files of trips, invented."""
