//go:build race

package sqlite_test

// raceEnabled tells whether the race detector slows this run down.
const raceEnabled = true
