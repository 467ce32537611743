package password_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/innkeeper-auth/innkeeper/password"
)

func Example() {
	ctx := context.Background()
	hasher, err := password.New(password.Config{})
	if err != nil {
		panic(err)
	}

	// Sign-up: the policy judges, the hasher hashes.
	var rejected *password.RejectedError
	if err := (password.Policy{}).Check("hunter2", password.About{Username: "ada"}); errors.As(err, &rejected) {
		fmt.Println(rejected.Reason, "-", rejected.Detail)
	}
	stored, err := hasher.Hash(ctx, "correct horse battery staple")
	if err != nil {
		panic(err)
	}
	fmt.Println(stored[:31])

	// Sign-in.
	needsRehash, err := hasher.Verify(ctx, stored, "correct horse battery staple")
	fmt.Println(needsRehash, err)
	_, err = hasher.Verify(ctx, stored, "wrong")
	fmt.Println(err)

	// Sign-in of a user who does not exist.
	fmt.Println(hasher.VerifyUnknown(ctx, "wrong"))

	// Output:
	// too_short - shorter than 8 characters
	// $argon2id$v=19$m=19456,t=2,p=1$
	// false <nil>
	// password does not match
	// password does not match
}
