package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// version is set when a release is built: -ldflags "-X main.version=v1.2.3".
var version string

type versionCommand struct {
	Output outputFlags `embed:""`
}

type versionObject struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// currentVersion says what was built, and from what.
func currentVersion() versionObject {
	v := versionObject{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if v.Version == "" {
		v.Version = "unknown"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
			v.Version = info.Main.Version // of "go install", or "(devel)"
		}
	}
	return v
}

// Run prints the version.
func (c *versionCommand) Run(std *stdio) error {
	v := currentVersion()
	return c.Output.print(std.out, v, func(w io.Writer) {
		fmt.Fprintf(w, "innkeeper %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
	})
}
