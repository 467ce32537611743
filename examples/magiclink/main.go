// Command magiclink signs people in by a link in a mail, and leaves their sessions to
// Innkeeper. Innkeeper has to be served below /auth of the same host, so that the
// cookies which this program passes on reach it.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

func main() {
	a := &app{
		innkeeper: "http://localhost:8080",
		secret:    os.Getenv("INNKEEPER_SECRET"), // innkeeper service add web --scope sessions:create
		mail:      func(username, link string) { fmt.Printf("to %q: %s\n", username, link) },
	}
	server := &http.Server{Addr: "127.0.0.1:8081", Handler: a.handler(), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}

// app is a back end with a sign-in of its own.
type app struct {
	innkeeper, secret string
	mail              func(username, link string)
	links             sync.Map // the text of a link to its *ticket
}

type ticket struct {
	username string
	expires  time.Time
}

func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login/request", a.request)
	mux.HandleFunc("POST /login/link", a.follow)
	return http.NewCrossOriginProtection().Handler(mux) // nobody signs you in as somebody else
}

// request mails a link. It answers alike for people whom we do not know.
func (a *app) request(w http.ResponseWriter, r *http.Request) {
	link := rand.Text()
	a.links.Store(link, &ticket{r.FormValue("username"), time.Now().Add(10 * time.Minute)})
	a.mail(r.FormValue("username"), link)
	w.WriteHeader(http.StatusNoContent)
}

// follow takes a link, which works once, and opens a session. The page behind the
// link posts here: programs that look at links in mails only GET.
func (a *app) follow(w http.ResponseWriter, r *http.Request) {
	found, ok := a.links.LoadAndDelete(r.FormValue("link"))
	if t, _ := found.(*ticket); !ok || time.Now().After(t.expires) {
		http.Error(w, "this link is used up; ask for another one", http.StatusUnauthorized)
	} else if err := a.openSession(w, r, t.username, "email"); err != nil {
		log.Print(err)
		http.Error(w, "try again", http.StatusBadGateway)
	}
}

// openSession opens a session for somebody whom we have authenticated, and passes on
// what Innkeeper answers: cookies for the browser, and an access token for the page.
func (a *app) openSession(w http.ResponseWriter, r *http.Request, username string, amr ...string) error {
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"username": username, "amr": amr, "ip": ip, "user_agent": r.UserAgent()})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, a.innkeeper+"/admin/sessions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.secret)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("open session: %s", resp.Status)
	}
	for _, name := range []string{"Set-Cookie", "Content-Type", "Cache-Control"} {
		w.Header()[name] = resp.Header.Values(name)
	}
	_, err = io.Copy(w, resp.Body)
	return err
}
