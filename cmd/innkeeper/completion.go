package main

import (
	"fmt"
	"slices"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish"`
}

// Help is shown above the flags.
func (*completionCommand) Help() string {
	return `Load it in bash or zsh with: source <(innkeeper completion bash)

In fish with: innkeeper completion fish | source`
}

// Run prints a script that completes commands, flags and their choices. It holds
// all of them: no program runs while somebody types.
func (c *completionCommand) Run(ctx *kong.Context, std *stdio) error {
	script, ok := completionScripts[c.Shell]
	if !ok {
		return usage(fmt.Errorf("there is no completion for %s", c.Shell), "choose bash, zsh or fish")
	}
	return template.Must(template.New(c.Shell).Funcs(template.FuncMap{"quote": quote}).Parse(script)).
		Execute(std.out, completionOf(ctx.Model))
}

// completion is what there is to complete.
type completion struct {
	Levels []level         // one for each command, the program itself first
	Values []completedFlag // the flags that take a value, each once
}

// level is a command and what may follow it.
type level struct {
	Path     string // " user add"; empty for the program
	Commands []completedCommand
	Flags    []completedFlag
}

type completedCommand struct{ Name, Help string }

type completedFlag struct {
	Name, Help string
	Bool       bool // takes no value
	Choices    []string
	Files      bool // the value names a file or directory
}

func completionOf(app *kong.Application) *completion {
	c := &completion{}
	c.add(app.Node, "")
	return c
}

func (c *completion) add(node *kong.Node, path string) {
	here := level{Path: path}
	for _, flag := range slices.Concat(node.AllFlags(true)...) {
		f := completedFlag{Name: flag.Name, Help: flag.Help, Bool: flag.IsBool(), Files: flag.Tag.Type == "path"}
		if flag.Enum != "" {
			f.Choices = flag.EnumSlice()
		}
		here.Flags = append(here.Flags, f)
		// Flags of one name mean the same everywhere.
		known := slices.ContainsFunc(c.Values, func(v completedFlag) bool { return v.Name == f.Name })
		if !known && !f.Bool {
			c.Values = append(c.Values, f)
		}
	}
	for _, child := range node.Children {
		here.Commands = append(here.Commands, completedCommand{child.Name, child.Help})
	}
	for _, positional := range node.Positional {
		if positional.Enum != "" {
			for _, choice := range positional.EnumSlice() {
				here.Commands = append(here.Commands, completedCommand{choice, ""})
			}
		}
	}
	c.Levels = append(c.Levels, here)
	for _, child := range node.Children {
		c.add(child, path+" "+child.Name)
	}
}

// quote makes any text one word of any of the shells.
func quote(text string) string {
	return "'" + strings.NewReplacer(`'`, `’`, `\`, `/`).Replace(text) + "'"
}

// completionScripts find out which command the words before the cursor name, and
// offer what may follow it. The value of a flag may look like a command: as far
// as it is none at that place, it is skipped.
var completionScripts = map[string]string{
	"bash": `# bash completion for innkeeper
_innkeeper() {
    local cur=${COMP_WORDS[COMP_CWORD]} at="" commands="" flags="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$at ${COMP_WORDS[i]}" in
{{- range .Levels}}{{if .Path}}
            {{quote .Path}}) at={{quote .Path}} ;;{{end}}{{end}}
        esac
    done
    case ${COMP_WORDS[COMP_CWORD-1]} in
{{- range .Values}}
        --{{.Name}}) {{if .Choices}}COMPREPLY=($(compgen -W '{{range .Choices}}{{.}} {{end}}' -- "$cur")); {{else if .Files}}compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")); {{end}}return ;;{{end}}
    esac
    case $at in
{{- range .Levels}}
        {{quote .Path}}) commands='{{range .Commands}}{{.Name}} {{end}}' flags='{{range .Flags}}--{{.Name}} {{end}}' ;;{{end}}
    esac
    if [[ $cur == -* ]]; then commands=$flags; fi
    COMPREPLY=($(compgen -W "$commands" -- "$cur"))
}
complete -F _innkeeper innkeeper
`,
	"zsh": `#compdef innkeeper
_innkeeper() {
    local at="" i
    local -a commands flags
    for ((i = 2; i < CURRENT; i++)); do
        case "$at ${words[i]}" in
{{- range .Levels}}{{if .Path}}
            ({{quote .Path}}) at={{quote .Path}} ;;{{end}}{{end}}
        esac
    done
    case ${words[CURRENT-1]} in
{{- range .Values}}
        (--{{.Name}}) {{if .Choices}}compadd -- {{range .Choices}}{{.}} {{end}}; {{else if .Files}}_files; {{end}}return ;;{{end}}
    esac
    case $at in
{{- range .Levels}}
        ({{quote .Path}})
            commands=({{range .Commands}}{{printf "%s:%s" .Name .Help | quote}} {{end}})
            flags=({{range .Flags}}{{printf "--%s:%s" .Name .Help | quote}} {{end}}) ;;{{end}}
    esac
    if [[ ${words[CURRENT]} == -* ]]; then
        _describe 'flag' flags
    else
        _describe 'command' commands
    fi
}
compdef _innkeeper innkeeper
`,
	"fish": `# fish completion for innkeeper
function __innkeeper_at
    set -l at ''
    for word in (commandline -opc)[2..-1]
        if contains -- "$at $word"{{range .Levels}}{{if .Path}} {{quote .Path}}{{end}}{{end}}
            set at "$at $word"
        end
    end
    test "$at" = "$argv[1]"
end
complete -c innkeeper -f
{{- range $level := .Levels}}{{range .Commands}}
complete -c innkeeper -n "__innkeeper_at {{quote $level.Path}}" -a {{.Name}} -d {{quote .Help}}{{end}}{{range .Flags}}
complete -c innkeeper -n "__innkeeper_at {{quote $level.Path}}" -l {{.Name}} {{if .Choices}}-xa '{{range .Choices}}{{.}} {{end}}' {{else if .Files}}-rF {{else if not .Bool}}-x {{end}}-d {{quote .Help}}{{end}}{{end}}
`,
}
