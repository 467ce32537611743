package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"

	"github.com/innkeeper-auth/innkeeper/verify"
)

// api is an application's API behind the verifier. It notes each call with the
// user that the token names.
type api struct {
	verifier *verify.Verifier
	ledger   *ledger
}

// routes adds the API to a mux:
//
//	/api/mail           the verifier decides; answers {"mail":["hello"]}
//	/api/echo           the verifier decides; answers what it was sent
//	/api/broken         401 invalid_token, whatever is sent
//	/api/unexplained    401 without a challenge
//	/api/forbidden      403 insufficient_scope
//	/api/redirect       ?to=URL&status=307
func (a *api) routes(mux *http.ServeMux) {
	mux.Handle("/api/mail", a.noted(a.verifier.RequireAuth(http.HandlerFunc(mail))))
	mux.Handle("/api/echo", a.noted(a.verifier.RequireAuth(http.HandlerFunc(echo))))
	mux.Handle("/api/broken", a.noted(refusing(http.StatusUnauthorized, `Bearer error="invalid_token"`)))
	mux.Handle("/api/unexplained", a.noted(refusing(http.StatusUnauthorized, "")))
	mux.Handle("/api/forbidden", a.noted(refusing(http.StatusForbidden, `Bearer error="insufficient_scope"`)))
	mux.Handle("/api/redirect", a.noted(http.HandlerFunc(redirect)))
}

func mail(w http.ResponseWriter, r *http.Request) {
	identify(w, r)
	writeJSON(w, http.StatusOK, map[string]any{"mail": []string{"hello"}})
}

func echo(w http.ResponseWriter, r *http.Request) {
	entry := identify(w, r)
	writeJSON(w, http.StatusOK, map[string]any{"method": entry.Method, "size": entry.Size, "sum": entry.Sum})
}

// identify tells noted, which stands outside of the verifier, who is behind the
// token, and returns what it has noted so far.
func identify(w http.ResponseWriter, r *http.Request) call {
	answer, ok := w.(*notedAnswer)
	if !ok {
		return call{}
	}
	identity, _ := verify.FromContext(r.Context())
	answer.entry.User, answer.entry.Session = identity.Username, identity.SessionID
	return answer.entry
}

func refusing(status int, challenge string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if challenge != "" {
			w.Header().Set("WWW-Authenticate", challenge)
		}
		http.Error(w, "refused", status)
	})
}

func redirect(w http.ResponseWriter, r *http.Request) {
	status, err := strconv.Atoi(r.FormValue("status"))
	if err != nil {
		status = http.StatusTemporaryRedirect
	}
	http.Redirect(w, r, r.FormValue("to"), status) //nolint:gosec // an open redirect is what is tested
}

// noted writes each call to the ledger. The body is read before anything is
// decided, as by a proxy that buffers: nginx does, unless told otherwise.
func (a *api) noted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, sum, err := measure(r)
		if err != nil {
			return // the sender has left
		}
		next.ServeHTTP(&notedAnswer{ResponseWriter: w, ledger: a.ledger, entry: call{
			Method: r.Method, Path: r.URL.Path, Cookie: r.Header.Get("Cookie"),
			Bearer: r.Header.Get("Authorization") != "", Size: size, Sum: sum,
		}}, r)
	})
}

// notedAnswer is an answer that stands in the ledger before the client sees it.
type notedAnswer struct {
	http.ResponseWriter
	ledger *ledger
	entry  call
}

// WriteHeader implements [http.ResponseWriter].
func (a *notedAnswer) WriteHeader(status int) {
	a.entry.Status = status
	a.ledger.write(func(seq int, p *page) {
		a.entry.Seq = seq
		p.Calls = append(p.Calls, a.entry)
	})
	a.ResponseWriter.WriteHeader(status)
}

// measure reads a body and returns its size and SHA-256. Of a form it takes names
// and contents of the parts, since their boundary is another one at each sending.
func measure(r *http.Request) (size int, sum string, err error) {
	hash := sha256.New()
	mediaType, parameters, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if mediaType != "multipart/form-data" {
		n, err := io.Copy(hash, r.Body)
		return int(n), hex.EncodeToString(hash.Sum(nil)), err
	}
	form := multipart.NewReader(r.Body, parameters["boundary"])
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return size, hex.EncodeToString(hash.Sum(nil)), nil
		}
		if err != nil {
			return 0, "", err
		}
		_, _ = fmt.Fprintf(hash, "%q %q ", part.FormName(), part.FileName())
		n, err := io.Copy(hash, part)
		if err != nil {
			return 0, "", err
		}
		size += int(n)
	}
}
