// Package keychain keeps the session of an Innkeeper source in the keychain of the
// operating system: the Keychain of macOS, the Credential Manager of Windows, the Secret
// Service of Linux desktops. It is a module of its own, so that D-Bus is in nobody's graph
// who does not use it.
//
//	store, err := keychain.New(keychain.Config{
//		Service: "com.example.mail", Account: "https://auth.example.com", Path: path,
//	})
//	source, err := client.New(client.Config{Server: "https://auth.example.com", Store: store})
//
// The keychain holds the refresh token and what belongs to it, in one item, and the
// device token in another. The access token stays in memory, so that every process
// refreshes for itself. Where there is no keychain, or nobody unlocks it, there is an
// error, and nothing is written in clear anywhere: use [client.FileStore] if that is what
// you want.
package keychain

import (
	"context"
	"errors"
	"fmt"

	"github.com/zalando/go-keyring"

	"github.com/innkeeper-auth/innkeeper/client"
)

// Config is what it takes to make a [Store]. All fields are required.
type Config struct {
	// Service names your program in the keychain: "com.example.mail".
	Service string
	// Account tells its sessions apart: the URL of the server, say.
	Account string
	// Path is the file beside which the lock and the idempotency keys are kept, as
	// [client.NewFileStore] does. A keychain has no lock. The keys are worth nothing without
	// a refresh token that is not in use any more. The file itself never exists.
	Path string
}

// Store is a [client.Store].
type Store struct {
	*client.FileStore // the lock and the keys

	service, account string
}

// New returns a store. It does not ask the keychain yet.
func New(cfg Config) (*Store, error) {
	if cfg.Service == "" || cfg.Account == "" {
		return nil, errors.New("keychain: name the service and the account")
	}
	beside, err := client.NewFileStore(cfg.Path)
	if err != nil {
		return nil, err
	}
	return &Store{FileStore: beside, service: cfg.Service, account: cfg.Account}, nil
}

// maxItem is what every keychain takes, in bytes: Windows 2,560, macOS some 3,000.
const maxItem = 2000

// Load implements [client.Store].
func (s *Store) Load(ctx context.Context) (*client.Session, error) {
	var text string
	err := ask(ctx, func() (err error) {
		text, err = keyring.Get(s.service, s.account)
		return err
	})
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		return nil, client.ErrNoSession
	case err != nil:
		return nil, err
	}
	return client.DecodeSession([]byte(text))
}

// Save implements [client.Store]. Of the user the ID is kept: names and roles come with
// the next refresh, and may be long.
func (s *Store) Save(ctx context.Context, session *client.Session) error {
	kept := *session
	kept.AccessToken = client.Secret{}
	kept.User = client.User{ID: session.User.ID}
	text, err := kept.Encode()
	if err != nil {
		return err
	}
	if len(text) > maxItem {
		return fmt.Errorf("keychain: the session takes %d bytes, and an item at most %d", len(text), maxItem)
	}
	return ask(ctx, func() error { return keyring.Set(s.service, s.account, string(text)) })
}

// Delete implements [client.Store].
func (s *Store) Delete(ctx context.Context) error {
	err := ask(ctx, func() error { return keyring.Delete(s.service, s.account) })
	if err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return err
	}
	return s.FileStore.Delete(ctx)
}

// LoadDevice implements [client.DeviceStore].
func (s *Store) LoadDevice(ctx context.Context) (client.Device, error) {
	var text string
	err := ask(ctx, func() (err error) {
		text, err = keyring.Get(s.service, s.device())
		return err
	})
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		return client.Device{}, nil
	case err != nil:
		return client.Device{}, err
	}
	return client.DecodeDevice([]byte(text))
}

// SaveDevice implements [client.DeviceStore], in an item of its own.
func (s *Store) SaveDevice(ctx context.Context, device client.Device) error {
	text, err := device.Encode()
	if err != nil {
		return err
	}
	return ask(ctx, func() error { return keyring.Set(s.service, s.device(), string(text)) })
}

func (s *Store) device() string { return s.account + " (device)" }

// ask asks the keychain and waits no longer than ctx lasts. A locked one may ask its
// person for a password, and they may have gone for lunch.
func ask(ctx context.Context, do func() error) error {
	answer := make(chan error, 1)
	go func() { answer <- do() }()
	select {
	case err := <-answer:
		if err != nil && !errors.Is(err, keyring.ErrNotFound) {
			return fmt.Errorf("keychain: is there one, and is it unlocked? %w", err)
		}
		return err
	case <-ctx.Done():
		return fmt.Errorf("keychain: %w", context.Cause(ctx))
	}
}
