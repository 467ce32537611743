package main

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// way is a way to revoke something of a lodger.
type way struct {
	name string
	// wide ways end everything that a lodger has; the others end one session.
	wide bool
	// done is the status of success.
	done int
	// call is the request. The session to end is the victim; helper is another session
	// of the same lodger, nil if wide.
	call func(w *warden, l *lodger, victim, helper *stay) call
	// speaker is the session whose access token the request carries; nil: none does.
	speaker func(w *warden, victim, helper *stay) *stay
	// prepare is what has to be done before, nil if nothing.
	prepare func(ctx context.Context, w *warden, victim *stay) error
	// then takes what the answer brings, nil if nothing.
	then func(ctx context.Context, w *warden, l *lodger, victim *stay, answer *reply) error
}

func byVictim(_ *warden, victim, _ *stay) *stay { return victim }
func byHelper(_ *warden, _, helper *stay) *stay { return helper }
func byAdmin(w *warden, _, _ *stay) *stay       { return w.admin }
func byNobody(*warden, *stay, *stay) *stay      { return nil }

// singleWays end one session.
func singleWays() []way {
	return []way{
		{
			name: "log out", done: http.StatusNoContent, speaker: byVictim,
			call: func(*warden, *lodger, *stay, *stay) call {
				return call{method: "POST", path: "/auth/logout", body: map[string]string{}}
			},
		},
		{
			name: "log out by refresh token", done: http.StatusNoContent, speaker: byNobody,
			call: func(_ *warden, _ *lodger, victim, _ *stay) call {
				return call{method: "POST", path: "/auth/logout", body: map[string]string{"refresh_token": victim.refresh.secret}}
			},
		},
		{
			name: "end own session", done: http.StatusNoContent, speaker: byHelper,
			call: func(_ *warden, _ *lodger, victim, _ *stay) call {
				return call{method: "DELETE", path: "/auth/sessions/" + victim.refresh.session}
			},
		},
		{
			name: "end by administrator", done: http.StatusNoContent, speaker: byAdmin,
			call: func(_ *warden, _ *lodger, victim, _ *stay) call {
				return call{method: "DELETE", path: "/admin/sessions/" + victim.refresh.session}
			},
		},
		reuse(),
	}
}

// reuse is a thief who presents a token that its owner has used: the answer ends the
// session.
func reuse() way {
	return way{
		name: "theft noticed", done: http.StatusUnauthorized, speaker: byNobody,
		prepare: func(ctx context.Context, w *warden, victim *stay) error { return w.renewOnce(ctx, victim) },
		call: func(_ *warden, _ *lodger, victim, _ *stay) call {
			return call{method: "POST", path: "/auth/refresh", body: map[string]string{"refresh_token": victim.used}}
		},
	}
}

// wideWays end everything that a lodger has.
func wideWays() []way {
	return []way{
		{
			name: "log out everywhere", wide: true, done: http.StatusNoContent, speaker: byVictim,
			call: func(*warden, *lodger, *stay, *stay) call {
				return call{method: "POST", path: "/auth/logout", body: map[string]string{"scope": "everywhere"}}
			},
		},
		{
			name: "log out others", wide: true, done: http.StatusNoContent, speaker: byVictim,
			call: func(*warden, *lodger, *stay, *stay) call {
				return call{method: "POST", path: "/auth/logout", body: map[string]string{"scope": "others"}}
			},
			// The session goes on, with the next access token.
			then: func(ctx context.Context, w *warden, _ *lodger, victim *stay, _ *reply) error {
				return w.refreshUntilAlive(ctx, victim)
			},
		},
		{
			name: "change password", wide: true, done: http.StatusOK, speaker: byVictim,
			call: func(_ *warden, l *lodger, _, _ *stay) call {
				return call{method: "POST", path: "/auth/password", body: map[string]string{
					"current_password": l.password, "new_password": l.password + ", again",
				}}
			},
			then: func(_ context.Context, w *warden, l *lodger, _ *stay, answer *reply) error {
				if answer.status != http.StatusOK {
					return nil // it was changed by a request whose answer was lost
				}
				next, err := w.adopt(answer)
				l.stays = append(l.stays, next)
				return err
			},
		},
		adminWay("disable user", http.StatusOK, func(l *lodger) call {
			return call{method: "PATCH", path: "/admin/users/" + l.id, body: map[string]bool{"disabled": true}}
		}),
		adminWay("set password", http.StatusNoContent, func(l *lodger) call {
			return call{method: "PUT", path: "/admin/users/" + l.id + "/password", body: map[string]string{"password": l.password + ", anew"}}
		}),
		adminWay("end all by administrator", http.StatusNoContent, func(l *lodger) call {
			return call{method: "DELETE", path: "/admin/users/" + l.id + "/sessions"}
		}),
		adminWay("delete user", http.StatusNoContent, func(l *lodger) call {
			return call{method: "DELETE", path: "/admin/users/" + l.id}
		}),
	}
}

func adminWay(name string, done int, c func(*lodger) call) way {
	return way{
		name: name, wide: true, done: done, speaker: byAdmin,
		call: func(_ *warden, l *lodger, _, _ *stay) call { return c(l) },
	}
}

// ending is what became of a revocation.
type ending struct {
	known          bool  // it was acknowledged
	shown          *pass // an access token that it should end
	tries          int
	node           int           // that gave the latest answer
	sent, answered time.Duration // of the latest try
}

// revoke ends a session of a lodger, or all of them, and notes in the ledger what it
// asked for and was told. It tries so many times.
func (w *warden) revoke(ctx context.Context, how way, l *lodger, victim, helper *stay, tries int) (ending, error) {
	if err := w.ready(ctx, how, victim, helper); err != nil {
		return ending{}, err
	}
	end := victim.pass.session
	if how.wide {
		end = victim.pass.epoch
	}
	w.ledger.ask(end, how.name)
	e := ending{shown: victim.pass}
	for range tries {
		c := how.call(w, l, victim, helper)
		speaker := how.speaker(w, victim, helper)
		if speaker != nil {
			c.bearer = speaker.pass.token
		}
		answer := w.attempt(ctx, c, &e)
		var err error
		if answer != nil {
			e.known, err = w.judge(ctx, how, answer, speaker, victim)
		}
		if e.known {
			end.end(e.answered)
			if how.then != nil {
				err = how.then(ctx, w, l, victim, answer)
			}
		}
		if e.known || err != nil || ctx.Err() != nil {
			return e, err
		}
		sleep(ctx, wardenPause)
	}
	return e, nil
}

// attempt asks once and notes when.
func (w *warden) attempt(ctx context.Context, c call, e *ending) *reply {
	e.tries++
	e.sent = w.ledger.rec.now()
	answer := w.ask(ctx, c)
	e.answered, e.node = w.ledger.rec.now(), w.node
	return answer
}

// ready has everybody who takes part hold an access token that a server accepts: a
// key may have been withdrawn.
func (w *warden) ready(ctx context.Context, how way, victim, helper *stay) error {
	if err := w.keepKey(ctx); err != nil {
		return err
	}
	for _, s := range []*stay{victim, helper} {
		if s == nil {
			continue
		}
		if err := w.refreshUntilAlive(ctx, s); err != nil {
			return err
		}
	}
	if how.prepare != nil {
		return how.prepare(ctx, w, victim)
	}
	return nil
}

// judge says whether an answer tells that what was asked for is over.
func (w *warden) judge(ctx context.Context, how way, answer *reply, speaker, victim *stay) (bool, error) {
	switch {
	case answer.status == http.StatusUnauthorized && how.done == http.StatusUnauthorized:
		if answer.Code == "refresh_token_reused" || answer.Code == "session_ended" {
			return true, nil
		}
	case answer.status == how.done:
		return true, nil
	case answer.status == http.StatusNotFound && how.name == "delete user":
		return true, nil // by a request whose answer was lost
	case answer.status == http.StatusUnauthorized && speaker != nil:
		return w.speechless(ctx, how, speaker, victim)
	}
	return false, unexpected(how.name, answer)
}

// speechless finds out why an access token was refused. Either its session is over,
// by a request whose answer was lost; or it has to be renewed, because its key was
// withdrawn, or because its session has gone on into another epoch.
func (w *warden) speechless(ctx context.Context, how way, speaker, victim *stay) (bool, error) {
	epoch := speaker.pass.epoch
	answer, err := w.renew(ctx, speaker)
	switch {
	case err != nil || answer == nil:
		return false, err
	case answer.status == http.StatusOK:
		return how.wide && speaker == victim && speaker.pass.epoch != epoch, nil
	case answer.Code == "session_ended" && speaker == victim:
		return true, nil
	}
	return false, unexpected("refresh after "+how.name, answer)
}

// withdrawKey withdraws the key that signs, as after a theft, and with it every
// access token that it has signed.
func (w *warden) withdrawKey(ctx context.Context, tries int) (ending, error) {
	var e ending
	if err := w.keepKey(ctx); err != nil {
		return e, err
	}
	e.shown = w.admin.pass
	key := e.shown.key
	w.ledger.ask(key, "withdraw key")
	for range tries {
		answer := w.attempt(ctx, call{
			method: "DELETE", path: "/admin/keys/" + strings.TrimPrefix(key.what, "key ") + "?emergency=true", bearer: w.admin.pass.token,
		}, &e)
		switch {
		case answer == nil:
		case answer.status == http.StatusNoContent || answer.status == http.StatusOK:
			e.known = true
			key.end(e.answered)
			return e, nil
		case answer.status == http.StatusUnauthorized:
			// A request whose answer was lost has withdrawn it; this server knows, and
			// perhaps not all do.
			if err := w.keepKey(ctx); err != nil {
				return e, err
			}
		default:
			return e, unexpected("withdraw key", answer)
		}
		sleep(ctx, wardenPause)
	}
	return e, ctx.Err()
}
