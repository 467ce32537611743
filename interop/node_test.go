package interop_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestNode runs the clients and resource servers of node/interop.test.js.
func TestNode(t *testing.T) {
	if _, err := os.Stat("node/node_modules"); err != nil {
		t.Fatal("the packages of Node are missing: run scripts/install-test-deps")
	}
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			i := open(t, "--alg", alg, "--audience", "https://api.example.com")
			cmd := exec.CommandContext(t.Context(), "npm", "test", "--silent")
			cmd.Dir = "node"
			cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+i.caFile, "INTEROP_ISSUER="+i.issuer,
				"INTEROP_AUDIENCE=https://api.example.com", "INTEROP_ALG="+alg, "INTEROP_PASSWORD="+password,
				"INTEROP_SERVICE=api", "INTEROP_SECRET="+i.addService("api", "introspect"))
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Errorf("%v\n%s", err, i.log)
			}
			// One of them plays a thief.
			if n := strings.Count(i.log.String(), `"refresh_token.reused"`); n != 1 {
				t.Errorf("%d alarms were raised\n%s", n, i.log)
			}
		})
	}
}
