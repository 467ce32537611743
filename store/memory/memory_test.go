package memory_test

import (
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/store/memory"
	"github.com/innkeeper-auth/innkeeper/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) innkeeper.Stores { return memory.New().Stores() })
}
