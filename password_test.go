package innkeeper

import (
	"slices"
	"testing"
)

func TestServiceNames(t *testing.T) {
	for issuer, want := range map[string][]string{
		"https://auth.example.com":           {"example"},
		"https://innkeeper.example.com/path": {"innkeeper", "example"},
		"https://accounts.big-shop.co.uk":    {"big-shop"},
		"https://example.com:8443":           {"example"},
		"https://x.io":                       nil,
		"http://localhost:8080":              nil,
		"http://127.0.0.1:8080":              nil,
		"http://[::1]:8080":                  nil,
	} {
		if got := serviceNames(issuer); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", issuer, got, want)
		}
	}
}
