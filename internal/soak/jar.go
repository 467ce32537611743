package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
)

// jar is what the tabs of one browser share: a session, and what its answers have
// brought. As docs/refresh.md asks of a client, a key is made before the first try
// and kept, and a token is only ever replaced by one of a later generation.
type jar struct {
	mu        sync.Mutex
	session   string // empty: signed out
	newest    int    // generation
	tokens    map[int]*refreshToken
	access    []accessToken // the latest last
	signingIn bool
}

type refreshToken struct {
	session    string
	generation int
	secret     string
	key        string // made for this generation; empty: nobody has tried to refresh it
}

type accessToken struct {
	session string
	secret  string
	epoch   string
}

// credentials are what one tab finds in a jar.
type credentials struct {
	refresh refreshToken
	access  accessToken
}

const (
	keptTokens = 12 // generations, of which the server recognizes the key of eight
	keptAccess = 3
)

// behind returns the refresh token so many generations before the newest, with its
// key, and one of the latest access tokens. It returns false if there is none.
func (j *jar) behind(generations int, rng *rand.Rand) (credentials, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	token := j.tokens[j.newest-generations]
	if j.session == "" || token == nil {
		return credentials{}, false
	}
	if token.key == "" {
		token.key = fmt.Sprintf("%016x", rng.Uint64())
	}
	return credentials{*token, j.access[rng.IntN(len(j.access))]}, true
}

// adopt takes what a sign-in or a refresh has brought.
func (j *jar) adopt(a *reply) {
	j.mu.Lock()
	defer j.mu.Unlock()
	generation := a.Session.Generation
	if j.session == "" && generation == 1 {
		j.session, j.newest, j.tokens, j.access = a.Session.ID, 0, map[int]*refreshToken{}, nil
	}
	if j.session != a.Session.ID {
		return // the session ended meanwhile
	}
	if j.tokens[generation] == nil {
		j.tokens[generation] = &refreshToken{session: j.session, generation: generation, secret: a.RefreshToken}
	}
	if generation >= j.newest {
		j.newest = generation
		j.access = append(j.access, accessToken{j.session, a.AccessToken, epochOf(a.AccessToken)})
		j.access = j.access[max(0, len(j.access)-keptAccess):]
	}
	delete(j.tokens, generation-keptTokens)
}

// clear empties the jar, if that session is still in it, and returns what remains
// of the session: dead tokens.
func (j *jar) clear(session string) []credentials {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.session != session || session == "" {
		return nil
	}
	j.session = ""
	dead := []credentials{{*j.tokens[j.newest], j.access[len(j.access)-1]}}
	if parent := j.tokens[j.newest-1]; parent != nil {
		dead = append(dead, credentials{*parent, j.access[0]})
	}
	return dead
}

// beginSignIn lets one tab sign in where nobody is signed in.
func (j *jar) beginSignIn() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.session != "" || j.signingIn {
		return false
	}
	j.signingIn = true
	return true
}

func (j *jar) endSignIn() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.signingIn = false
}

func (j *jar) signedIn() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.session
}

// person is a user, with a few browsers.
type person struct {
	name, id string
	jars     []*jar

	mu   sync.Mutex
	dead []credentials // of sessions that are over
}

// keptDead bounds what is tried again and again of the past.
const keptDead = 8

func (p *person) bury(dead []credentials) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = append(p.dead, dead...)
	p.dead = p.dead[max(0, len(p.dead)-keptDead):]
}

func (p *person) graves() []credentials {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.dead)
}
