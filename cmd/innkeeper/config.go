package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// envPrefix begins the environment twin of every flag.
const envPrefix = "INNKEEPER"

// settings are the flags that the environment and a file may hold, by name: the
// flags of all commands, since one file serves them all.
func settings(app *kong.Node) map[string]*kong.Flag {
	all := allFlags(app)
	maps.DeleteFunc(all, func(_ string, flag *kong.Flag) bool { return len(flag.Envs) == 0 })
	return all
}

// allFlags are the flags of a command and of those below it, by name.
func allFlags(node *kong.Node) map[string]*kong.Flag {
	all := make(map[string]*kong.Flag)
	for _, flag := range node.Flags {
		all[flag.Name] = flag
	}
	for _, child := range node.Children {
		maps.Copy(all, allFlags(child))
	}
	return all
}

// BeforeResolve refuses unknown settings in the environment, and reads the file
// of --config. Kong calls it when flags and environment are known, and before
// the file is asked for the rest.
func (*cli) BeforeResolve(ctx *kong.Context) error {
	known := settings(ctx.Model.Node)
	if err := checkEnvironment(os.Environ(), known); err != nil {
		return err
	}
	path, ok := ctx.FlagValue(known["config"]).(string)
	if !ok || path == "" {
		return nil
	}
	delete(known, "config")    // one file does not name another
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return usage(err, "--config names a YAML file")
	}
	defer func() { _ = file.Close() }()
	values, err := readSettings(file, path, known)
	if err != nil {
		return err
	}
	ctx.AddResolver(values)
	return nil
}

// serviceLink matches the variables that Kubernetes sets in every pod for a
// service that is called innkeeper, or innkeeper-something.
var serviceLink = regexp.MustCompile(`^INNKEEPER(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// checkEnvironment refuses variables that look like settings and are none: a slip
// must not turn a limit into its default.
func checkEnvironment(environ []string, known map[string]*kong.Flag) error {
	var twins []string
	for _, flag := range known {
		twins = append(twins, flag.Envs...)
	}
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, envPrefix+"_") && !slices.Contains(twins, name) && !serviceLink.MatchString(name) {
			return unknown("environment: unknown setting "+name, name, twins)
		}
	}
	return nil
}

// fileSettings are the values of a file: a string each, or a list of strings.
type fileSettings map[string]any

// Validate implements [kong.Resolver]. Everything was checked when it was read.
func (fileSettings) Validate(*kong.Application) error { return nil }

// Resolve implements [kong.Resolver]. Kong asks for what is not on the command
// line; the environment wins too.
func (s fileSettings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	return s[flag.Name], nil
}

// readSettings reads a YAML mapping of flag names. Errors name the line.
func readSettings(r io.Reader, path string, known map[string]*kong.Flag) (fileSettings, error) {
	mapping, err := readMapping(r)
	if err != nil {
		return nil, usage(fmt.Errorf("%s: %w", path, err), "write one setting a line, like access-ttl: 5m")
	}
	values := make(fileSettings)
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		at := fmt.Sprintf("%s:%d", path, key.Line)
		flag, ok := known[key.Value]
		if !ok {
			return nil, unknown(at+": unknown setting "+key.Value, key.Value, slices.Collect(maps.Keys(known)))
		}
		if _, twice := values[flag.Name]; twice {
			return nil, usage(fmt.Errorf("%s: %s is set twice", at, flag.Name), "give several values as a list: [a, b]")
		}
		decoded, err := settingValue(flag, value)
		if err != nil {
			return nil, usage(fmt.Errorf("%s: %s %w", at, flag.Name, err), "run innkeeper serve --help")
		}
		values[flag.Name] = decoded
	}
	return values, nil
}

// readMapping reads the only document of a YAML file. One that holds nothing but
// comments is an empty mapping.
func readMapping(r io.Reader) (*yaml.Node, error) {
	var document, second yaml.Node
	decoder := yaml.NewDecoder(r)
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return &yaml.Node{Kind: yaml.MappingNode}, nil
	case err != nil:
		return nil, err
	case decoder.Decode(&second) != io.EOF: //nolint:errorlint // documented to be io.EOF itself
		return nil, errors.New("holds more than one document")
	case document.Content[0].Kind != yaml.MappingNode:
		return nil, errors.New("holds no settings")
	}
	return document.Content[0], nil
}

// settingValue returns a value as it is spelt, for the flag to parse.
func settingValue(flag *kong.Flag, value *yaml.Node) (any, error) {
	switch {
	case value.Kind == yaml.ScalarNode && value.Tag != "!!null":
		return value.Value, nil
	case value.Kind == yaml.SequenceNode && flag.IsSlice():
		items := make([]any, 0, len(value.Content))
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				return nil, errors.New("holds something that is no text")
			}
			items = append(items, item.Value)
		}
		return items, nil
	case flag.IsSlice():
		return nil, errors.New("wants a value or a list of values")
	}
	return nil, errors.New("wants one value")
}

// unknown refuses a name, and suggests the one that was probably meant.
func unknown(message, name string, known []string) error {
	err := errors.New(message)
	if nearest := nearest(name, known); nearest != "" {
		return usage(err, "did you mean %s", nearest)
	}
	return usage(err, `run "innkeeper COMMAND --help" for all settings`)
}

// nearest returns the known name that takes the fewest edits, or "" if all of
// them take more than a slip would.
func nearest(name string, known []string) string {
	best, fewest := "", max(2, len(name)/4)+1
	for _, candidate := range slices.Sorted(slices.Values(known)) {
		if edits := distance(name, candidate); edits < fewest {
			best, fewest = candidate, edits
		}
	}
	return best
}

// distance counts the letters to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
