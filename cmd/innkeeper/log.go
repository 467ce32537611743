package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/innkeeper-auth/innkeeper"
)

// newLogger logs text to a person and JSON to a program.
func newLogger(w *os.File, level string) *slog.Logger {
	options := &slog.HandlerOptions{}
	var threshold slog.Level
	if err := threshold.UnmarshalText([]byte(level)); err == nil { // kong has checked it
		options.Level = threshold
	}
	if term.IsTerminal(int(w.Fd())) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// logEvents logs what happens to sessions and users. Events hold no token,
// password or key.
func logEvents(log *slog.Logger) func(context.Context, innkeeper.Event) {
	return func(ctx context.Context, event innkeeper.Event) {
		level := slog.LevelInfo
		switch event.Kind {
		case innkeeper.EventTokenReused, innkeeper.EventDeliveryGivenUp:
			level = slog.LevelWarn
		case innkeeper.EventStoreBehind:
			level = slog.LevelError
		}
		attrs := []slog.Attr{slog.String("kind", string(event.Kind))}
		if event.Actor != "" {
			attrs = append(attrs, slog.String("actor", string(event.Actor)))
		}
		if event.UserID != (innkeeper.UserID{}) {
			attrs = append(attrs, slog.String("user", event.UserID.String()))
		}
		if event.SessionID != (innkeeper.SessionID{}) {
			attrs = append(attrs, slog.String("session", event.SessionID.String()))
		}
		if event.Reason != "" {
			attrs = append(attrs, slog.String("reason", string(event.Reason)))
		}
		if event.Client.Addr.IsValid() {
			attrs = append(attrs, slog.String("addr", event.Client.Addr.String()))
		}
		if len(event.Detail) > 0 {
			attrs = append(attrs, slog.Any("detail", event.Detail))
		}
		log.LogAttrs(ctx, level, "event", attrs...)
	}
}

// logRequests logs every request, without its query, headers and body, if the
// level is debug.
func logRequests(log *slog.Logger, next http.Handler) http.Handler {
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(recorder, r)
		log.DebugContext(r.Context(), "request", "method", r.Method, "path", r.URL.Path,
			"status", recorder.status, "took", time.Since(began).String())
	})
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap gives [http.ResponseController] access to what is below.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
