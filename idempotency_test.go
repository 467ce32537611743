package innkeeper

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestIdempotencyKeyLength(t *testing.T) {
	for length, fine := range map[int]bool{
		0: false, 1: false, 15: false, 16: true, 17: true, 254: true, 255: true, 256: false, 65536: false,
	} {
		key, err := NewIdempotencyKey(strings.Repeat("k", length), 3)
		var input *InputError
		switch {
		case fine && err != nil:
			t.Errorf("%d characters: %v", length, err)
		case fine && (key.hash == KeyHash{} || key.generation != 3):
			t.Errorf("%d characters: the key is %v", length, key)
		case !fine && (!errors.As(err, &input) || input.Field != "Idempotency-Key"):
			t.Errorf("%d characters: got %v, want an InputError", length, err)
		case !fine && key != (IdempotencyKey{}):
			t.Errorf("%d characters: a key came with the error", length)
		}
	}
}

// A refused key must not find its way into a log through the error.
func TestIdempotencyKeyErrorDoesNotRepeatTheKey(t *testing.T) {
	_, err := NewIdempotencyKey("short-secret", 1)
	if err == nil || strings.Contains(err.Error(), "short-secret") {
		t.Errorf("the error is %q", err)
	}
}

// Other servers and other stores keep the same hash: the first 16 bytes of
// SHA-256, whatever generation the key was made for.
func TestIdempotencyKeyHash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[!-~]{16,255}`).Draw(t, "text")
		key, err := NewIdempotencyKey(text, rapid.Uint32().Draw(t, "generation"))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(text))
		if string(key.hash[:]) != string(sum[:16]) {
			t.Errorf("the hash is %x, want %x", key.hash, sum[:16])
		}
	})
}

func TestEmptySlotMatchesNothing(t *testing.T) {
	key := keyOf(1).hash
	for _, test := range []struct {
		name string
		slot KeyHash
		key  KeyHash
		want bool
	}{
		{"a key and itself", key, key, true},
		{"a key and another", keyOf(2).hash, key, false},
		{"a key that differs in its last bit", lastBitFlipped(key), key, false},
		{"an empty slot and a key", KeyHash{}, key, false},
		{"a key in the slot, none sent", key, KeyHash{}, false},
		{"an empty slot, none sent", KeyHash{}, KeyHash{}, false},
	} {
		if got := test.key.matches(test.slot); got != test.want {
			t.Errorf("%s: got %t", test.name, got)
		}
	}
	var empty RecentKeys
	for behind := range uint32(12) {
		if empty.rotated(behind, KeyHash{}) || empty.rotated(behind, key) {
			t.Errorf("a session without keys recognizes a key %d generations behind", behind)
		}
	}
}

func lastBitFlipped(h KeyHash) KeyHash {
	h[len(h)-1] ^= 1
	return h
}

// The keys of the last eight rotations are kept, each for its own generation.
func TestEightSlots(t *testing.T) {
	var keys RecentKeys
	for rotation := uint32(1); rotation <= 30; rotation++ {
		before := keys
		pushed := keys.Push(keyOf(rotation).hash)
		if keys != before {
			t.Fatal("Push has changed what it was called on")
		}
		keys = pushed
		for other := uint32(1); other <= rotation; other++ {
			for behind := range uint32(40) {
				rotated := keys.rotated(behind, keyOf(other).hash)
				want := behind == rotation-other+1 && behind <= 8
				if rotated != want {
					t.Fatalf("after rotation %d: key of rotation %d, %d behind: got %t", rotation, other, behind, rotated)
				}
			}
		}
	}
	// A rotation without a key takes a slot like any other, and so pushes an old
	// key out.
	keys = keys.Push(KeyHash{})
	if keys[0] != (KeyHash{}) || keys.rotated(1, keyOf(30).hash) || !keys.rotated(2, keyOf(30).hash) {
		t.Errorf("after a rotation without a key: %v", keys)
	}
	if keys.rotated(8, keyOf(23).hash) || !keys.rotated(8, keyOf(24).hash) {
		t.Errorf("the oldest slot is not that of the eighth rotation: %v", keys)
	}
	if keys.rotated(1<<32-1, keyOf(24).hash) || keys.rotated(0, keyOf(24).hash) {
		t.Error("a slot outside the eight was looked at")
	}
}
