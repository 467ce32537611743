package main

import (
	"bytes"
	"testing"

	"github.com/alecthomas/kong"
)

// A file of settings, whatever is in it, is read or refused.
func FuzzReadSettings(f *testing.F) {
	parser, err := kong.New(&cli{}, kong.DefaultEnvars(envPrefix))
	if err != nil {
		f.Fatal(err)
	}
	known := settings(parser.Model.Node)
	for _, seed := range []string{
		"", "access-ttl: 5m\n", "audience: [a, b]\n", "access-ttl: 5m\naccess-ttl: 6m\n", "- x\n", "a: &a [*a]\n", "--- {}\n--- {}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		values, err := readSettings(bytes.NewReader(text), "file", known)
		if err != nil {
			return
		}
		for name := range values {
			if _, ok := known[name]; !ok {
				t.Fatalf("%q holds the unknown setting %q", text, name)
			}
		}
	})
}
