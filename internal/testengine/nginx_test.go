package testengine_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
)

func get(t *testing.T, addr string) string {
	t.Helper()
	// No connection is kept: an old worker would go on serving it.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + addr)
	check(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(t, err)
	return string(body)
}

func TestNginxServesAndReloads(t *testing.T) {
	t.Parallel()
	nginx, err := testengine.StartNginx(t.Context(), "server { listen {{addr}}; return 200 before; }")
	check(t, err)
	defer nginx.Close()
	if got := get(t, nginx.Addr()); got != "before" {
		t.Error(got)
	}
	check(t, nginx.Reload(t.Context(), "server { listen {{addr}}; return 200 after; }"))
	for range 10 {
		if got := get(t, nginx.Addr()); got != "after" {
			t.Error(got)
		}
	}
	if err := nginx.Reload(t.Context(), "vacancy none;"); err == nil || !strings.Contains(err.Error(), "vacancy") {
		t.Errorf("no log in: %v", err)
	}
	check(t, nginx.Stop(t.Context()))
	if !refused(nginx.Addr()) {
		t.Error("it still listens")
	}
}

func TestNginxErrorsTellItsLog(t *testing.T) {
	t.Parallel()
	_, err := testengine.StartNginx(t.Context(), "vacancy none;")
	if err == nil || !strings.Contains(err.Error(), `unknown directive "vacancy"`) {
		t.Errorf("no log in: %v", err)
	}
}
