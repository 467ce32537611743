package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"

	"golang.org/x/crypto/bcrypt"

	"github.com/innkeeper-auth/innkeeper/password"
)

// right is everybody's password, and wrong is nobody's.
const (
	right = "correct horse battery staple"
	wrong = "incorrect horse battery staple"
)

// people returns so many users, "name-1" and on, who all have the right password, as
// lines for the import. It is hashed once, or a siege would take longer to prepare than
// to lay.
func people(ctx context.Context, name string, n int) ([]map[string]any, error) {
	hasher, err := password.New(password.Config{})
	if err != nil {
		return nil, err
	}
	hash, err := hasher.Hash(ctx, right)
	if err != nil {
		return nil, err
	}
	return lines(name, n, hash), nil
}

// imported is a user whose hash another program has made.
func imported(name string, cost int) (map[string]any, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(right), cost)
	if err != nil {
		return nil, err
	}
	return map[string]any{"username": name, "password_hash": string(hash)}, nil
}

// migrated returns so many users who come from Firebase, "name-1" and on, none of whom has
// the password that is guessed.
func migrated(name string, n int) []map[string]any {
	key, salt, tag := make([]byte, 64), "c2FsdA==", base64.StdEncoding.EncodeToString(make([]byte, 64))
	hash := password.FirebaseProject{SignerKey: key, SaltSeparator: []byte{7}, Rounds: 8, MemCost: 14}.Hash(tag, salt)
	return lines(name, n, hash)
}

// lines returns so many users with the same hash, for the import.
func lines(name string, n int, hash string) []map[string]any {
	users := make([]map[string]any, n)
	for i := range users {
		users[i] = map[string]any{"username": fmt.Sprintf("%s-%d", name, i+1), "password_hash": hash}
	}
	return users
}

// somewhere returns an address that hardly anybody else has.
func somewhere() string {
	n := rand.Uint32() //nolint:gosec // anywhere
	return fmt.Sprintf("10.%d.%d.%d", n>>16&0xff, n>>8&0xff, n&0xff)
}
