package openapi

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Schema is what a value has to be like, as far as it takes to make one up.
type Schema struct {
	Ref        string             `json:"$ref"`
	Types      Types              `json:"type"`
	Format     string             `json:"format"`
	Enum       []any              `json:"enum"`
	Properties map[string]*Schema `json:"properties"`
	Required   []string           `json:"required"`
	Items      *Schema            `json:"items"`
	Minimum    *float64           `json:"minimum"`
	Maximum    *float64           `json:"maximum"`
	MaxLength  *int               `json:"maxLength"`
	MaxItems   *int               `json:"maxItems"`
	Examples   []any              `json:"examples"`
}

// Types are those that a value may be of.
type Types []string

// UnmarshalJSON implements [json.Unmarshaler]: one name, or a list of them.
func (t *Types) UnmarshalJSON(text []byte) error {
	if strings.HasPrefix(string(text), "[") {
		return json.Unmarshal(text, (*[]string)(t))
	}
	*t = make(Types, 1)
	return json.Unmarshal(text, &(*t)[0])
}

// resolve puts what is referred to in the place of the reference. A request that
// contains itself has no end, and is none of ours.
func (s *Schema) resolve(document *document) error {
	if s == nil {
		return nil
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		target := document.Components.Schemas[name]
		if target == nil {
			return fmt.Errorf("there is no schema %q", name)
		}
		if err := target.resolve(document); err != nil {
			return err
		}
		*s = *target
		return nil
	}
	for _, property := range s.Properties {
		if err := property.resolve(document); err != nil {
			return err
		}
	}
	return s.Items.resolve(document)
}
