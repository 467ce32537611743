package demo

import (
	"net/http"
	"time"

	"github.com/innkeeper-auth/innkeeper/verify"
)

// message is one of the toy API's mails.
type message struct {
	From    string `json:"from"`
	Subject string `json:"subject"`
}

var inbox = []message{
	{From: "Front desk", Subject: "Your room is ready"},
	{From: "Charles", Subject: "The engine: notes on your notes"},
	{From: "Housekeeping", Subject: "We found a punched card under the bed"},
}

// mailbox is what the toy API answers: mail, and what it knows of its caller
// from the access token alone.
type mailbox struct {
	Account   string    `json:"account"`
	Session   string    `json:"sid"`
	ExpiresAt time.Time `json:"access_token_expires_at"`
	Messages  []message `json:"messages"`
}

// serveMail runs behind the verifier.
func serveMail(w http.ResponseWriter, r *http.Request) {
	id, _ := verify.FromContext(r.Context())
	writeJSON(w, http.StatusOK, mailbox{
		Account: id.Username, Session: id.SessionID, ExpiresAt: id.ExpiresAt, Messages: inbox,
	})
}
