package innkeeper

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// DeviceTokenPrefix begins every device token, so that secret scanners find leaked
// ones.
const DeviceTokenPrefix = "ikd_"

// deviceLife is how long a device is known after its latest sign-in. Browsers keep no
// cookie for more than 400 days (RFC 6265bis section 5.5).
const deviceLife = 365 * 24 * time.Hour

// Layout of a device token after its prefix, in bytes:
//
//	root key id 2 | user 16 | device 16 | expires 5 | tag 16
const (
	deviceOffsetUser    = 2
	deviceOffsetDevice  = deviceOffsetUser + 16
	deviceOffsetExpires = deviceOffsetDevice + 16
	deviceOffsetTag     = deviceOffsetExpires + 5
	deviceTokenSize     = deviceOffsetTag + 16
)

type deviceID [16]byte

func newDeviceID() deviceID {
	var id deviceID
	rand.Read(id[:])
	return id
}

// DeviceToken says that somebody has signed in as a user on a device. It signs nobody
// in and opens nothing: all that it is good for is that sign-ins as that user from that
// device are counted by themselves, so that nobody who guesses the user's password
// elsewhere keeps them out (OWASP: device cookies).
//
// It outlives sessions, and changes of the password, after which it is needed most. It
// prints as "ikd_[redacted]" wherever it is printed. The zero value is no token.
type DeviceToken struct {
	_       [0]func() // not comparable: == would compare addresses
	user    UserID
	device  deviceID
	expires int64 // seconds since 1970
	text    concealed
}

// Reveal returns the text of the token, to hand it to its device; empty for the zero
// value. MUST NOT be logged.
func (t DeviceToken) Reveal() string { return t.text.reveal() }

// ExpiresAt returns the moment from which the token is good for nothing.
func (t DeviceToken) ExpiresAt() time.Time { return time.Unix(t.expires, 0).UTC() }

const redactedDeviceToken = DeviceTokenPrefix + "[redacted]"

// String returns a placeholder, as do the methods below.
func (t DeviceToken) String() string { return redactedDeviceToken }

// GoString implements [fmt.GoStringer].
func (t DeviceToken) GoString() string { return redactedDeviceToken }

// Format implements [fmt.Formatter] for every verb.
func (t DeviceToken) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedDeviceToken)) }

// LogValue implements [slog.LogValuer].
func (t DeviceToken) LogValue() slog.Value { return slog.StringValue(redactedDeviceToken) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON.
func (t DeviceToken) MarshalText() ([]byte, error) { return []byte(redactedDeviceToken), nil }

// knownDevice returns the token among those presented that is good for whoever has a
// name, nil if there is none: forged ones, expired ones and those of other users are as
// good as none, and nobody is told the difference. Nobody has a token for a user that
// does not exist.
//
// It reads the users of the tokens, and not the one of the name: who has an account of
// their own, and with it a token, must not see by time which other names exist.
func (a *Authority) knownDevice(ctx context.Context, username string, presented []string) (*DeviceToken, error) {
	canonical, err := canonicalUsername(username)
	if err != nil {
		return nil, nil // nobody's name
	}
	now := a.now()
	looked := make(map[UserID]bool)
	for _, text := range presented {
		token, ok := parseDeviceToken(a.roots, text)
		if !ok || now.Unix() >= token.expires || looked[token.user] {
			continue
		}
		looked[token.user] = true
		user, err := a.User(ctx, token.user)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return nil, err
		case user.Username == canonical:
			return &token, nil
		}
	}
	return nil, nil
}

// device returns the token that a sign-in leaves behind: a new one, or the known one
// with a new life.
func (a *Authority) device(user UserID, known *DeviceToken, now time.Time) DeviceToken {
	id := newDeviceID()
	if known != nil {
		id = known.device
	}
	return mintDeviceToken(a.roots.Active(), user, id, now.Add(deviceLife))
}

func mintDeviceToken(key *rootkey.Key, user UserID, device deviceID, until time.Time) DeviceToken {
	id := key.ID()
	raw := make([]byte, 0, deviceTokenSize)
	raw = append(raw, id[:]...)
	raw = append(raw, user[:]...)
	raw = append(raw, device[:]...)
	raw, expires := appendExpires(raw, until)
	raw = append(raw, deviceTag(key, raw)...)
	return DeviceToken{
		user: user, device: device, expires: expires,
		text: conceal(DeviceTokenPrefix + tokenEncoding.EncodeToString(raw)),
	}
}

// parseDeviceToken returns the token that the text spells, or false if no key of the
// ring has minted it. Each token has exactly one spelling.
func parseDeviceToken(ring rootkey.Ring, text string) (DeviceToken, bool) {
	encoded, ok := strings.CutPrefix(text, DeviceTokenPrefix)
	if !ok || len(encoded) != tokenEncoding.EncodedLen(deviceTokenSize) || strings.ContainsAny(encoded, "\r\n") {
		return DeviceToken{}, false
	}
	raw, err := tokenEncoding.DecodeString(encoded)
	if err != nil {
		return DeviceToken{}, false
	}
	key, ok := ring.ByID(rootkey.ID(raw[:deviceOffsetUser]))
	if !ok || subtle.ConstantTimeCompare(deviceTag(key, raw[:deviceOffsetTag]), raw[deviceOffsetTag:]) != 1 {
		return DeviceToken{}, false
	}
	return DeviceToken{
		user:    UserID(raw[deviceOffsetUser:deviceOffsetDevice]),
		device:  deviceID(raw[deviceOffsetDevice:deviceOffsetExpires]),
		expires: decodeExpires(raw[deviceOffsetExpires:deviceOffsetTag]),
		text:    conceal(text),
	}, true
}

// deviceTag is made with a key that marks nothing else: no token of another kind is
// ever taken for one of a device.
func deviceTag(key *rootkey.Key, body []byte) []byte {
	mac := hmac.New(sha256.New, key.DeviceKey())
	mac.Write(body)
	return mac.Sum(nil)[:deviceTokenSize-deviceOffsetTag]
}
