//go:build race

package main

// raceFlags make the servers of these tests look for data races, as the tests do.
var raceFlags = []string{"-race"}
