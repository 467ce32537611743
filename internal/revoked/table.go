package revoked

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"sync/atomic"
)

const (
	minSlots = 16
	// chunkSize is how much text is allocated at once.
	chunkSize = 16 << 10
	// maxText is the longest ID that is kept as it is. Of longer ones, which no issuer
	// of ours makes, the SHA-256 is kept instead.
	maxText = 1 << 10
	// unit is what positions count in. A length and an ID of 22 characters are three.
	unit = 8
	// A slot is a position in the text plus one, and above it bits of the hash that let
	// most others be passed over without a look at the text.
	positionBits = 40
	positionMask = 1<<positionBits - 1
)

// table is a hash table of IDs that only grows. One goroutine at a time adds to it,
// any number look up meanwhile, without a lock: a slot is written once, after the
// text that it leads to, and what a table is replaced by has everything that it had.
//
// It holds no pointers but those to chunks of text, so that a million entries are no
// work for the garbage collector.
type table struct {
	seed  maphash.Seed
	slots []atomic.Uint64 // a power of two, at most two thirds of them in use
	text  atomic.Pointer[text]

	count int // of IDs; only for whoever adds
	used  int // of the last chunk, in bytes; only for whoever adds
}

// text is where the IDs stand, each behind its length plus one in two bytes.
type text []*[chunkSize]byte

func newTable(slots int) *table {
	t := &table{seed: maphash.MakeSeed(), slots: make([]atomic.Uint64, slots), used: chunkSize}
	t.text.Store(new(text))
	return t
}

// has reports whether an ID is there. There is nothing in a nil table.
func (t *table) has(id string) bool {
	if t == nil {
		return false
	}
	if len(id) > maxText {
		id = short(id)
	}
	_, found := t.find(id, maphash.String(t.seed, id))
	return found
}

// find returns where an ID is, or the free slot where it would be.
func (t *table) find(id string, hash uint64) (slot int, found bool) {
	mask := len(t.slots) - 1
	for i := int(hash) & mask; ; i = (i + 1) & mask { //nolint:gosec // cut on purpose
		value := t.slots[i].Load()
		if value == 0 {
			return i, false
		}
		if value>>positionBits == hash>>positionBits && string(t.at(value&positionMask-1)) == id {
			return i, true
		}
	}
}

// at returns the ID at a position, or nil where the rest of a chunk is empty. It
// shares memory with the text, which never changes.
func (t *table) at(position uint64) []byte {
	offset := position * unit
	entry := (*t.text.Load())[offset/chunkSize][offset%chunkSize:]
	length := int(binary.LittleEndian.Uint16(entry))
	if length == 0 {
		return nil
	}
	return entry[2 : 1+length]
}

// add adds an ID, or reports that the table has to grow first.
func (t *table) add(id string) bool {
	if len(id) > maxText {
		id = short(id)
	}
	hash := maphash.String(t.seed, id)
	slot, found := t.find(id, hash)
	if found {
		return true
	}
	if 3*(t.count+1) > 2*len(t.slots) {
		return false
	}
	t.slots[slot].Store(hash>>positionBits<<positionBits | (t.write(id) + 1))
	t.count++
	return true
}

// write appends an ID to the text and returns its position.
func (t *table) write(id string) uint64 {
	chunks := *t.text.Load()
	size := sizeOf(len(id))
	if t.used+size > chunkSize {
		// Readers keep the slice that they have, which is no shorter than they need.
		chunks = append(chunks, new([chunkSize]byte))
		t.text.Store(&chunks)
		t.used = 0
	}
	last := len(chunks) - 1
	entry := chunks[last][t.used:]
	binary.LittleEndian.PutUint16(entry, uint16(len(id)+1)) //nolint:gosec // at most maxText
	copy(entry[2:], id)
	position := last*chunkSize + t.used
	t.used += size
	return uint64(position / unit) //nolint:gosec // not negative
}

// grown returns a table with twice the slots and the same text, which the old one
// must not add to any more.
func (t *table) grown() *table {
	larger := &table{seed: t.seed, slots: make([]atomic.Uint64, 2*len(t.slots)), count: t.count, used: t.used}
	larger.text.Store(t.text.Load())
	mask := len(larger.slots) - 1
	for i := range t.slots {
		value := t.slots[i].Load()
		if value == 0 {
			continue
		}
		hash := maphash.Bytes(t.seed, t.at(value&positionMask-1))
		slot := int(hash) & mask //nolint:gosec // cut on purpose
		for larger.slots[slot].Load() != 0 {
			slot = (slot + 1) & mask
		}
		larger.slots[slot].Store(value)
	}
	return larger
}

// all goes through the IDs in the order in which they were added.
func (t *table) all() iter.Seq[string] {
	return func(yield func(string) bool) {
		chunks := len(*t.text.Load())
		for offset := 0; offset < chunks*chunkSize; {
			id := t.at(uint64(offset / unit))
			if id == nil {
				offset = (offset/chunkSize + 1) * chunkSize
				continue
			}
			if !yield(string(id)) {
				return
			}
			offset += sizeOf(len(id))
		}
	}
}

// sizeOf is how many bytes an ID takes.
func sizeOf(length int) int { return (2 + length + unit - 1) / unit * unit }

func (t *table) len() int {
	if t == nil {
		return 0
	}
	return t.count
}

// short stands for an ID that is too long to be kept.
func short(id string) string {
	sum := sha256.Sum256([]byte(id))
	return string(sum[:])
}
