package redis_test

import (
	"context"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper/internal/testengine"
	"github.com/redis/rueidis"
)

// raw is a connection behind the store's back.
func raw(t testing.TB, server *testengine.Redis) rueidis.Client {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, ForceSingleClient: true, DisableCache: true, DisableRetry: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// ask sends one command whose answer is a text.
func ask(t testing.TB, server *testengine.Redis, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client := raw(t, server)
	answer, err := client.Do(ctx, client.B().Arbitrary(command...).Build()).ToString()
	if err != nil {
		t.Fatalf("%v: %v", command, err)
	}
	return answer
}
