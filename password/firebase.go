package password

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"fmt"
	"strings"
)

// FirebaseProject is what all hashes of a Firebase project have in common: the
// "password hash parameters" of its console. Firebase encrypts the signer key with
// what scrypt makes of the password, and keeps the result.
type FirebaseProject struct {
	SignerKey     []byte // a secret, like a password hash: it goes into each of them
	SaltSeparator []byte
	Rounds        uint64 // scrypt's r
	MemCost       uint64 // the logarithm of scrypt's N
}

// ParseFirebaseProject reads the parameters as the console shows them, lines of a
// name, a colon and a value, in whatever brackets and with whatever commas. It
// returns [ErrMalformed] or [ErrParams].
func ParseFirebaseProject(text string) (FirebaseProject, error) {
	values := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		values[strings.Trim(name, " \t\"',{")] = strings.Trim(value, " \t\r\n\"',}")
	}
	project := FirebaseProject{}
	var okKey, okSeparator, okRounds, okMemory bool
	project.SignerKey, okKey = looseBase64(values["base64_signer_key"])
	project.SaltSeparator, okSeparator = looseBase64(values["base64_salt_separator"])
	project.Rounds, okRounds = number(values["rounds"], 32)
	project.MemCost, okMemory = number(values["mem_cost"], 32)
	if values["algorithm"] != "SCRYPT" || !okKey || len(project.SignerKey) == 0 || !okSeparator || !okRounds || !okMemory {
		return FirebaseProject{}, fmt.Errorf("%w: want algorithm SCRYPT, base64_signer_key, base64_salt_separator, rounds and mem_cost", ErrMalformed)
	}
	if _, err := project.cost(); err != nil {
		return FirebaseProject{}, err
	}
	return project, nil
}

// Hash puts one user's hash together, from the members passwordHash and salt of an
// export, for [Import].
func (f FirebaseProject) Hash(passwordHash, salt string) string {
	return fmt.Sprintf("$fbscrypt$v=1,n=%d,r=%d,p=1,ss=%s,sk=%s$%s$%s",
		f.MemCost, f.Rounds, paddedText(f.SaltSeparator), paddedText(f.SignerKey), salt, passwordHash)
}

func (f FirebaseProject) cost() (scryptCost, error) { return readScryptCost(f.MemCost, f.Rounds, 1) }

// firebaseHash is one hash of a project.
type firebaseHash struct {
	project   FirebaseProject
	scrypt    scryptCost
	salt, tag []byte
}

// parseFirebase reads what follows "$fbscrypt$".
func parseFirebase(rest string) (foreign, error) {
	fields := strings.Split(rest, "$")
	if len(fields) != 3 {
		return nil, ErrMalformed
	}
	head, key, okKey := strings.Cut(fields[0], ",sk=")
	head, separator, okSeparator := strings.Cut(head, ",ss=")
	values, ok := settings(head, "v", "n", "r", "p")
	if !ok || !okKey || !okSeparator || values[0] != 1 || values[3] != 1 {
		return nil, ErrMalformed
	}
	f := firebaseHash{project: FirebaseProject{MemCost: values[1], Rounds: values[2]}}
	f.project.SignerKey, okKey = looseBase64(key)
	f.project.SaltSeparator, okSeparator = looseBase64(separator)
	var err error
	f.salt, f.tag, err = looseSaltAndTag(fields[1], fields[2])
	if !okKey || !okSeparator || err != nil || len(f.project.SaltSeparator) > maxForeignSalt || len(f.tag) != len(f.project.SignerKey) {
		return nil, ErrMalformed
	}
	f.scrypt, err = f.project.cost()
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (firebaseHash) scheme() Scheme { return SchemeFirebaseScrypt }

func (f firebaseHash) memory() uint32 { return uint32(f.scrypt.kibibytes()) } //nolint:gosec // bounded by readScryptCost

func (f firebaseHash) encode() string { return f.project.Hash(paddedText(f.tag), paddedText(f.salt)) }

// matches encrypts the signer key with AES-256 in counter mode, the counter at zero:
// each key encrypts one text.
func (f firebaseHash) matches(password []byte) bool {
	const keySize = 32
	salt := append(append([]byte(nil), f.salt...), f.project.SaltSeparator...)
	block, err := aes.NewCipher(f.scrypt.key(password, salt, keySize))
	if err != nil {
		return false
	}
	tag := make([]byte, len(f.project.SignerKey))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(tag, f.project.SignerKey) //nolint:gosec // the counter is Firebase's, see above
	return subtle.ConstantTimeCompare(tag, f.tag) == 1
}
