package main

import (
	"sync/atomic"
	"time"
)

// clock runs like any other and can be moved. Innkeeper and the API read it; the
// browser does not.
type clock struct {
	ahead atomic.Int64
}

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// advance moves the clock, backwards if d is negative.
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// duration is a [time.Duration] that is written like "1m30s" in JSON.
type duration time.Duration

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}
