package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/innkeeper-auth/innkeeper/internal/strictjson"
)

// DeviceStore is what a [Store] may be besides: it remembers that somebody has signed in
// here before. With that the next sign-in is not held up by whoever guesses the password
// elsewhere. Without it every sign-in is a stranger's. [FileStore] and [MemoryStore] are
// such stores, and so is that of the nested module keychain.
//
// An error means that the store is unavailable. It keeps nobody from signing in.
type DeviceStore interface {
	// LoadDevice returns what was saved last, or the zero value. A [Store.Delete] leaves it
	// where it is.
	LoadDevice(ctx context.Context) (Device, error)
	// SaveDevice replaces what is stored, as a whole.
	SaveDevice(ctx context.Context, device Device) error
}

// Device is how a server knows this device again. Its token signs nobody in. The zero
// value is one that no server knows.
type Device struct {
	// Server is the URL of the only server that the token may be shown to.
	Server string
	// Token is the device token of the latest sign-in.
	Token Secret
}

// storedDevice is the stored form. It spells the token out.
type storedDevice struct {
	Version int    `json:"version"`
	Server  string `json:"server"`
	Token   string `json:"device_token"`
}

// deviceVersion is that of the stored form.
const deviceVersion = 1

// Encode returns the device as a store keeps it: JSON, with the token in clear.
func (d Device) Encode() ([]byte, error) {
	return json.Marshal(storedDevice{Version: deviceVersion, Server: d.Server, Token: d.Token.Reveal()})
}

// DecodeDevice reads what [Device.Encode] has made.
func DecodeDevice(text []byte) (Device, error) {
	var stored storedDevice
	if err := strictjson.Unmarshal(text, &stored); err != nil {
		return Device{}, errors.New("stored device is not readable") // the cause may quote it
	}
	if stored.Version != deviceVersion {
		return Device{}, fmt.Errorf("stored device has version %d; this program knows %d", stored.Version, deviceVersion)
	}
	return Device{Server: stored.Server, Token: NewSecret(stored.Token)}, nil
}

// deviceToken returns the token by which our server knows this device, zero if there is
// none.
func (s *Source) deviceToken(ctx context.Context, told *notices) Secret {
	store, ok := s.store.(DeviceStore)
	if !ok {
		return Secret{}
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	device, err := store.LoadDevice(ctx)
	switch {
	case err != nil:
		told.failure(storeFailed("load device", err))
		return Secret{}
	case device.Server != s.server.url:
		return Secret{}
	}
	return device.Token
}

// keepDevice stores the token that a sign-in has brought, if it has brought one.
func (s *Source) keepDevice(ctx context.Context, token string, told *notices) {
	store, ok := s.store.(DeviceStore)
	if !ok || token == "" {
		return
	}
	if err := store.SaveDevice(ctx, Device{Server: s.server.url, Token: NewSecret(token)}); err != nil {
		told.failure(storeFailed("store device", err))
	}
}
