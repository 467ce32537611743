package main

import (
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/innkeeper-auth/innkeeper/examples/internal/trial"
)

func TestAPI(t *testing.T) {
	gin.SetMode(gin.TestMode)
	trial.API(t, newHandler)
}
