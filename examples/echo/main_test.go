package main

import (
	"testing"

	"github.com/innkeeper-auth/innkeeper/examples/internal/trial"
)

func TestAPI(t *testing.T) { trial.API(t, newHandler) }
