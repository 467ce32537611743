package userfile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/internal/strictjson"
	"github.com/innkeeper-auth/innkeeper/password"
)

// record is one line.
type record struct {
	Username     string   `json:"username"`
	Email        string   `json:"email"`
	Roles        []string `json:"roles"`
	PasswordHash string   `json:"password_hash"`
	Salt         string   `json:"salt"` // of Firebase, whose exports keep it apart
	Disabled     bool     `json:"disabled"`
}

// Rejection says why a line was not imported.
type Rejection struct {
	Line   int    // its number, from 1
	Code   string // stable, for programs
	Detail string // what is wrong with it, for people; never holds a hash
	Hint   string // what to do
	Text   []byte // the line itself, a hash and all; nil if it was too long
}

// Codes of a [Rejection].
const (
	codeTooLong       = "line_too_long"
	codeInvalidJSON   = "invalid_json"
	codeUnknownMember = "unknown_member"
	codeHashUnknown   = "hash_unknown"
	codeHashTooCostly = "hash_too_costly"
	codeSalt          = "salt_unexpected"
	codeRoleUnknown   = "role_unknown"
	codeDiffers       = "user_differs"
	codeInvalid       = "invalid_" // and the name of the member
)

// parse reads one line.
func (i *Import) parse(text []byte) (innkeeper.ImportedUser, *Rejection) {
	var members map[string]any
	if err := strictjson.Unmarshal(text, &members); err != nil {
		return innkeeper.ImportedUser{}, &Rejection{
			Code: codeInvalidJSON, Detail: err.Error(), Hint: `write each user as one JSON object on a line of its own: jq -c '.[]' makes them of an array`,
		}
	}
	// A member that is misspelled, and then ignored, could enable whom it should disable.
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains([]string{"username", "email", "roles", "password_hash", "salt", "disabled"}, name) {
			return innkeeper.ImportedUser{}, &Rejection{
				Code: codeUnknownMember, Detail: fmt.Sprintf("unknown member %.40q", name), Hint: "use username, email, roles, password_hash, salt and disabled; leave the others out",
			}
		}
	}
	var r record
	if err := strictjson.Unmarshal(text, &r); err != nil {
		return innkeeper.ImportedUser{}, &Rejection{
			Code: codeInvalidJSON, Detail: err.Error(), Hint: "username, email, password_hash and salt are strings, roles is a list of strings, and disabled is true or false",
		}
	}
	return i.user(r)
}

// user makes a canonical user of a record.
func (i *Import) user(r record) (innkeeper.ImportedUser, *Rejection) {
	user := innkeeper.ImportedUser{Username: r.Username, Email: r.Email, Roles: r.Roles, PasswordHash: r.PasswordHash, Disabled: r.Disabled}
	switch {
	case strings.HasPrefix(r.PasswordHash, "!"):
		user.PasswordHash = "" // what Django writes for nobody's password
	case r.Salt != "" && i.cfg.Firebase == nil:
		return user, &Rejection{
			Code: codeSalt, Detail: "a salt beside the hash is Firebase's", Hint: "give the parameters of the project with --firebase-config, or write the salt into the hash",
		}
	case r.Salt != "":
		user.PasswordHash = i.cfg.Firebase.Hash(r.PasswordHash, r.Salt)
	}
	user, err := user.Canonical()
	return user, rejectionOf(err)
}

// rejectionOf says what is wrong with a user, or returns nil if nothing is, or if the
// error is none of theirs.
func rejectionOf(err error) *Rejection {
	var (
		input   *innkeeper.InputError
		differs *innkeeper.DiffersError
	)
	switch {
	case errors.As(err, &input):
		return &Rejection{Code: codeInvalid + input.Field, Detail: input.Error(), Hint: "correct it"}
	case errors.As(err, &differs):
		return &Rejection{Code: codeDiffers, Detail: differs.Error(), Hint: "nothing was changed; correct the line, or the user with innkeeper user"}
	case errors.Is(err, innkeeper.ErrRoleUnknown):
		return &Rejection{Code: codeRoleUnknown, Detail: err.Error(), Hint: "define it first: innkeeper role set NAME PERMISSION…"}
	case errors.Is(err, password.ErrMalformed):
		return &Rejection{Code: codeHashUnknown, Detail: err.Error(), Hint: "docs/import.md names the spellings; without password_hash the user is imported without a password"}
	case errors.Is(err, password.ErrParams):
		return &Rejection{Code: codeHashTooCostly, Detail: err.Error(), Hint: "a sign-in with it would hold up everybody; import the user without password_hash, and let them set a new password"}
	}
	return nil
}
