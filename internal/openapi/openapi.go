// Package openapi reads the description of the API as any client would, from its
// JSON, and tells whether an answer is in it.
//
//	description, err := openapi.Read(text) // GET /openapi.json
//	operation := description.Find("GET", "/admin/users/abc")
//	err = operation.Judge("GET", status, header, body)
//
// It is what tests and fuzzing judge the server by, so it knows nothing of how the
// server is made. It understands as much of OpenAPI 3.1 as the description uses, and
// refuses a description that uses more.
package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Description is what the server says of itself.
type Description struct {
	// Operations, by ID.
	Operations []*Operation

	compiler *jsonschema.Compiler
}

// Operation is a method of a path.
type Operation struct {
	ID, Method, Path string
	Parameters       []Parameter
	// Body is what it is sent, nil if it takes nothing.
	Body *Body
	// Security are the ways to authenticate, each a scheme with its scopes; none if
	// anybody may call. One without a scheme is nobody in particular.
	Security []map[string][]string

	answers map[int]map[string]*jsonschema.Schema // by status and media type; nil: no body
}

// Parameter is something that an operation takes beside the body.
type Parameter struct {
	Name     string  `json:"name"`
	In       string  `json:"in"` // path, query or header
	Required bool    `json:"required"`
	Explode  bool    `json:"explode"`
	Schema   *Schema `json:"schema"`
}

// Body is what an operation is sent.
type Body struct {
	Required bool
	Type     string // the media type
	Schema   *Schema
}

// Read reads a description.
func Read(text []byte) (*Description, error) {
	var document document
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("read description: %w", err)
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read description: %w", err)
	}
	d := &Description{compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft2020) // OpenAPI 3.1.0, section 4.8.24
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(location, whole); err != nil {
		return nil, fmt.Errorf("read description: %w", err)
	}
	for path, methods := range document.Paths {
		for method, described := range methods {
			operation, err := d.operation(&document, path, method, described)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", strings.ToUpper(method), path, err)
			}
			d.Operations = append(d.Operations, operation)
		}
	}
	slices.SortFunc(d.Operations, func(a, b *Operation) int { return strings.Compare(a.ID, b.ID) })
	return d, nil
}

// location names the document to the compiler of schemas.
const location = "openapi:///openapi.json"

// document is the JSON.
type document struct {
	Paths      map[string]map[string]*describedOperation `json:"paths"`
	Components struct {
		Schemas map[string]*Schema `json:"schemas"`
	} `json:"components"`
}

type describedOperation struct {
	OperationID string      `json:"operationId"`
	Parameters  []Parameter `json:"parameters"`
	RequestBody *struct {
		Required bool                      `json:"required"`
		Content  map[string]describedMedia `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content map[string]describedMedia `json:"content"`
	} `json:"responses"`
	Security []map[string][]string `json:"security"`
}

type describedMedia struct {
	Schema *Schema `json:"schema"`
}

func (d *Description) operation(document *document, path, method string, described *describedOperation) (*Operation, error) {
	operation := &Operation{
		ID: described.OperationID, Method: strings.ToUpper(method), Path: path,
		Parameters: described.Parameters, Security: described.Security,
		answers: make(map[int]map[string]*jsonschema.Schema),
	}
	for i := range operation.Parameters {
		if err := operation.Parameters[i].Schema.resolve(document); err != nil {
			return nil, err
		}
	}
	if body := described.RequestBody; body != nil {
		if len(body.Content) != 1 {
			return nil, errors.New("a body of several types")
		}
		for mediaType, media := range body.Content {
			if err := media.Schema.resolve(document); err != nil {
				return nil, err
			}
			operation.Body = &Body{Required: body.Required, Type: mediaType, Schema: media.Schema}
		}
	}
	for text, response := range described.Responses {
		status, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("response %q is no status", text)
		}
		operation.answers[status] = make(map[string]*jsonschema.Schema)
		for mediaType := range response.Content {
			schema, err := d.compiler.Compile(location + "#" + pointer("paths", path, method, "responses", text, "content", mediaType, "schema"))
			if err != nil {
				return nil, err
			}
			operation.answers[status][mediaType] = schema
		}
	}
	return operation, nil
}

// pointer joins names to a JSON pointer (RFC 6901) in a fragment.
func pointer(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		name = strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		b.WriteString("/" + url.PathEscape(name))
	}
	return b.String()
}

// Find returns the operation that a method and an escaped path lead to, nil for none.
// HEAD leads where GET does.
func (d *Description) Find(method, escaped string) *Operation {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	whole, err := url.PathUnescape(escaped)
	if err != nil || path.Clean(whole) != whole {
		return nil
	}
	segments := strings.Split(escaped, "/")
	var found *Operation
	for _, operation := range d.Operations {
		// A path that is spelled out wins over one with a parameter.
		if operation.Method == method && operation.leads(segments) && (found == nil || strings.Contains(found.Path, "{")) {
			found = operation
		}
	}
	return found
}

func (o *Operation) leads(segments []string) bool {
	template := strings.Split(o.Path, "/")
	if len(template) != len(segments) {
		return false
	}
	for i, want := range template {
		got, err := url.PathUnescape(segments[i])
		if err != nil || !strings.HasPrefix(want, "{") && got != want || got == "" && want != "" {
			return false
		}
	}
	return true
}

// Statuses returns the statuses that the operation may answer with, in order.
func (o *Operation) Statuses() []int {
	statuses := make([]int, 0, len(o.answers))
	for status := range o.answers {
		statuses = append(statuses, status)
	}
	slices.Sort(statuses)
	return statuses
}

// Judge returns an error if an answer to the operation is not in the description:
// status, media type and, except for HEAD, the body with all its members.
func (o *Operation) Judge(method string, status int, header http.Header, body []byte) error {
	types, ok := o.answers[status]
	if !ok {
		return fmt.Errorf("%s: status %d is not described", o.ID, status)
	}
	mediaType := header.Get("Content-Type")
	if len(types) == 0 {
		if mediaType != "" || len(body) > 0 {
			return fmt.Errorf("%s: %d has a body of type %q, and none is described", o.ID, status, mediaType)
		}
		return nil
	}
	schema, ok := types[mediaType]
	if !ok {
		return fmt.Errorf("%s: %d is of type %q, which is not described", o.ID, status, mediaType)
	}
	if method == http.MethodHead {
		return nil
	}
	if err := validate(schema, body); err != nil {
		return fmt.Errorf("%s: %d: %w", o.ID, status, err)
	}
	return nil
}

// JudgeBody returns an error if a body is not valid against a schema of the
// description, which is known by its name.
func (d *Description) JudgeBody(name string, body []byte) error {
	schema, err := d.compiler.Compile(location + "#" + pointer("components", "schemas", name))
	if err != nil {
		return err
	}
	return validate(schema, body)
}

func validate(schema *jsonschema.Schema, body []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the body is no JSON: %w", err)
	}
	return schema.Validate(value)
}
