package tempest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"sync"
)

// eventLog is what the server says of itself: the ends of sessions.
type eventLog struct {
	path string

	mu   sync.Mutex
	at   int64             // read up to here
	ends map[string]string // by session: the first reason
}

// reason returns why the server has ended a session, "" if it has not.
func (l *eventLog) reason(session string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends[session] == "" {
		l.read()
	}
	return l.ends[session]
}

// all returns the reasons of all sessions that have ended.
func (l *eventLog) all() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read()
	return l.ends
}

// read reads what is new. A line that is not complete yet is for the next time.
func (l *eventLog) read() {
	file, err := os.Open(l.path)
	if err != nil {
		return // there is none yet
	}
	defer func() { _ = file.Close() }() // it was only read
	if _, err := file.Seek(l.at, io.SeekStart); err != nil {
		return
	}
	for r := bufio.NewReader(file); ; {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		l.at += int64(len(line))
		l.note(bytes.TrimSpace(line))
	}
}

func (l *eventLog) note(line []byte) {
	var event struct {
		Kind    string `json:"kind"`
		Session string `json:"session"`
		Reason  string `json:"reason"`
	}
	if json.Unmarshal(line, &event) != nil || event.Session == "" || l.ends[event.Session] != "" {
		return
	}
	switch {
	case event.Kind == "refresh_token.reused":
		l.ends[event.Session] = "reuse"
	case strings.HasSuffix(event.Kind, ".ended"), event.Kind == "store.behind":
		l.ends[event.Session] = event.Reason
	}
}
