package demo_test

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper/internal/demo"
	page "github.com/innkeeper-auth/innkeeper/web/demo"
)

// references are what a page or a module loads.
var references = regexp.MustCompile(`(?:src|href)="(/[^"#]*)"|from '\./([^']+)'|from '(/[^']+)'`)

var wantTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

func TestPage(t *testing.T) {
	b := newStage(t).browser(t)
	index := b.send("GET", "/", "")
	if index.status != 200 || index.header.Get("Content-Type") != wantTypes[".html"] {
		t.Fatalf("page: %d %s", index.status, index.header)
	}
	for _, credential := range []string{demo.Username, demo.Password} {
		if !strings.Contains(index.text, `value="`+credential+`"`) {
			t.Errorf("the form is not filled in with %q", credential)
		}
	}
	if inline := regexp.MustCompile(`<style|\sstyle=|\son\w+=|<script(?:>|[^>]*[^"]>)`).FindString(index.text); inline != "" {
		t.Errorf("the page's own policy forbids %q", inline)
	}

	seen := map[string]bool{"/": true}
	type loaded struct{ url, text string }
	for queue := []loaded{{"/", index.text}}; len(queue) > 0; queue = queue[1:] {
		for _, match := range references.FindAllStringSubmatch(queue[0].text, -1) {
			url := match[1] + match[3]
			if match[2] != "" {
				url = path.Join(path.Dir(queue[0].url), match[2])
			}
			if seen[url] {
				continue
			}
			seen[url] = true
			a := b.send("GET", url, "")
			if want, static := wantTypes[path.Ext(url)]; a.status != 200 || static && a.header.Get("Content-Type") != want {
				t.Errorf("%s: %d %s", url, a.status, a.header.Get("Content-Type"))
			}
			queue = append(queue, loaded{url, a.text})
		}
	}
	entries, err := fs.ReadDir(page.Files(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); name != "index.html" && !seen["/"+name] {
			t.Errorf("%s is never loaded", name)
		}
	}
}

func TestPolicyOfThePage(t *testing.T) {
	b := newStage(t).browser(t)
	for _, url := range []string{"/", "/page.js", "/style.css"} {
		header := b.send("GET", url, "").header
		policy := header.Get("Content-Security-Policy")
		for _, directive := range []string{
			"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
			"form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
		} {
			if !strings.Contains(policy+";", directive+";") {
				t.Errorf("%s: policy %q lacks %q", url, policy, directive)
			}
		}
		if header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s may be sniffed", url)
		}
	}
	for _, url := range []string{"/api/mail", "/auth/demo/thief/copy"} {
		header := b.send("POST", url, "").header
		if header.Get("Content-Security-Policy") == "" || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
			t.Errorf("%s is bare: %v", url, header)
		}
	}
	// Whatever is no file of the page is the API's to answer.
	b.send("GET", "/embed.go", "").want(t, 404, "not_found")
	b.send("GET", "/index.html", "").want(t, 404, "not_found")
	if a := b.send("GET", "/openapi.json", ""); a.status != 200 {
		t.Errorf("openapi.json: %d", a.status)
	}
}
