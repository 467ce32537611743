package demo

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
)

// recorded is an answer that was kept instead of sent. It is the
// [http.ResponseWriter] that it was written to.
type recorded struct {
	status int
	header http.Header
	body   bytes.Buffer
}

// record lets a handler answer a request, and keeps the answer.
func record(handler http.Handler, r *http.Request) *recorded {
	answer := &recorded{header: make(http.Header)}
	handler.ServeHTTP(answer, r)
	if answer.status == 0 {
		answer.status = http.StatusOK
	}
	return answer
}

// Header implements [http.ResponseWriter].
func (a *recorded) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *recorded) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements [http.ResponseWriter].
func (a *recorded) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// send sends the answer after all.
func (a *recorded) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes()) // who has left cannot be told so
}

// cookies returns what the answer sets.
func (a *recorded) cookies() []*http.Cookie {
	return (&http.Response{Header: a.header}).Cookies()
}

// members are what the demo reads of the API's JSON, good news and bad.
type members struct {
	AccessToken string `json:"access_token"`
	Code        string `json:"code"`
	Reason      string `json:"reason"`
}

// members returns the answer's members; none if it is no JSON.
func (a *recorded) members() members {
	var m members
	if json.Unmarshal(a.body.Bytes(), &m) != nil {
		return members{}
	}
	return m
}

// writeJSON answers with what only this package can say.
func writeJSON(w http.ResponseWriter, status int, v any) {
	write(w, status, "application/json", v)
}

// refuse answers in the manner of the API: RFC 9457 with a code.
func refuse(w http.ResponseWriter, status int, code, detail string) {
	write(w, status, "application/problem+json", map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "code": code, "detail": detail,
	})
}

func write(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, nil // cannot happen to strings and numbers
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
