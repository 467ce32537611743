package redis

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for text, want := range map[string]target{
		"redis://localhost":                     {addrs: []string{"localhost:6379"}},
		"redis://localhost:7000/":               {addrs: []string{"localhost:7000"}},
		"rediss://localhost/3":                  {addrs: []string{"localhost:6379"}, tls: true, database: 3},
		"redis://ada:s3cret@db.example:7000/2":  {addrs: []string{"db.example:7000"}, username: "ada", password: "s3cret", database: 2},
		"redis://:s3cret@db.example":            {addrs: []string{"db.example:6379"}, password: "s3cret"},
		"redis://a%40b:p%2Fw%3A%3F%25+@h":       {addrs: []string{"h:6379"}, username: "a@b", password: "p/w:?%+"},
		"redis://[::1]:7000":                    {addrs: []string{"[::1]:7000"}},
		"redis://[::1]":                         {addrs: []string{"[::1]:6379"}},
		"redis://a:1,b:2":                       {addrs: []string{"a:1", "b:2"}, cluster: cluster},
		"redis://u:p@a:1,b/?cluster=true":       {addrs: []string{"a:1", "b:6379"}, username: "u", password: "p", cluster: cluster},
		"redis://a?cluster=true":                {addrs: []string{"a:6379"}, cluster: cluster},
		"redis://a/5?cluster=false":             {addrs: []string{"a:6379"}, cluster: single, database: 5},
		"redis://master.x.cache.example:6379/0": {addrs: []string{"master.x.cache.example:6379"}},
	} {
		got, err := parseURL(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v\nwant %+v", text, got, err, want)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for _, text := range []string{
		"", "redis", "redis:", "redis://", "redis:///0", "http://:hunter2@host", "//:hunter2@host", ":hunter2@host",
		"redis://:hunter2@", "redis://:hunter2@host:", "redis://:hunter2@host:port", "redis://:hunter2@host:70000",
		"redis://:hunter2@host/x", "redis://:hunter2@host/-1", "redis://:hunter2@host/0/1", "redis://:hunter2@::1",
		"redis://:hunter2/x@host", "redis://:hunter2@x@host", "redis://:hunter2%@host", "redis://:hunter2%zz@host",
		"redis://u%zz:hunter2@host", "redis://:hunter2@a,,b", "redis://:hunter2@[::1", "redis://:hunter2@[]",
		"redis://:hunter2@host?cluster=yes", "redis://:hunter2@host?cluster=true&cluster=false", "redis://:hunter2@host?hunter2=1",
		"redis://:hunter2@host?%zz", "redis://:hunter2@a,b?cluster=false", "redis://:hunter2@a,b/1", "redis://:hunter2@a/1?cluster=true",
	} {
		got, err := parseURL(text)
		if err == nil {
			t.Errorf("%s is taken for %+v", text, got)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the password: %v", text, err)
		}
	}
}

// A configuration that ends up in a log tells no password.
func TestConfigPrintsNoPassword(t *testing.T) {
	for _, url := range []string{"redis://ada:hunter2@host/1", "redis://:hunter2@host", "hunter2@"} {
		cfg := Config{URL: url}
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("opened", "config", cfg, "pointer", &cfg)
		for _, printed := range []string{
			fmt.Sprint(cfg), fmt.Sprintf("%v %+v %#v %s %q", cfg, cfg, cfg, cfg, cfg), fmt.Sprintf("%+v %#v", &cfg, &cfg), log.String(),
		} {
			if strings.Contains(printed, "hunter2") {
				t.Errorf("it prints %s", printed)
			}
		}
	}
	if got := fmt.Sprint(Config{URL: "rediss://ada:hunter2@a:1,b:2"}); got != "redis at rediss://ada:[redacted]@a:1,b:2/0" {
		t.Errorf("it prints %s", got)
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("redis://ada:s3cret@db.example:7000/2?cluster=true")
	f.Add("rediss://[::1],b:2/")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseURL(text)
		if err != nil {
			return
		}
		// What can be read can be printed, and reads as the same but for the password.
		again, err := parseURL(strings.Replace(got.String(), ":[redacted]@", ":@", 1))
		got.password = ""
		if got.cluster == single || len(got.addrs) == 1 { // not printed
			again.cluster = got.cluster
		}
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Fatalf("%q reads as %+v and then %+v, %v", text, got, again, err)
		}
	})
}
