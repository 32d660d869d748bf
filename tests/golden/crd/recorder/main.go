// Command recorder asks Kubernetes' own code what it makes of custom resources: which fields it refuses, and how the
// object looks after pruning and defaulting. See README.md.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	schemavalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

type object = map[string]interface{}

type testCase struct {
	Old object `json:"old"`
	New object `json:"new"`
}

type answer struct {
	Errors []string `json:"errors"`
	Object object   `json:"object"`
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: recorder CRD-FOLDER CASES.yaml ANSWERS.json")
		os.Exit(2)
	}
	var cases map[string]map[string]testCase
	must(yaml.Unmarshal(read(os.Args[2]), &cases))
	answers := map[string]map[string]answer{}
	files, err := filepath.Glob(filepath.Join(os.Args[1], "*.yaml"))
	must(err)
	for _, file := range files {
		kind, definition := load(file)
		answers[kind] = ask(definition, cases[kind])
	}
	text, err := json.MarshalIndent(answers, "", " ")
	must(err)
	must(os.WriteFile(os.Args[3], append(text, '\n'), 0o644))
}

// load reads a CustomResourceDefinition and ends the program where an API server would not take it.
func load(file string) (string, *apiextensions.CustomResourceDefinition) {
	var external v1.CustomResourceDefinition
	must(yaml.UnmarshalStrict(read(file), &external))
	v1.SetDefaults_CustomResourceDefinition(&external)
	v1.SetDefaults_CustomResourceDefinitionSpec(&external.Spec)
	var internal apiextensions.CustomResourceDefinition
	must(v1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&external, &internal, nil))
	internal.Status.StoredVersions = []string{external.Spec.Versions[0].Name}
	if refused := validation.ValidateCustomResourceDefinition(context.Background(), &internal); len(refused) > 0 {
		must(fmt.Errorf("%s: %w", file, refused.ToAggregate()))
	}
	return external.Spec.Names.Kind, &internal
}

func ask(definition *apiextensions.CustomResourceDefinition, cases map[string]testCase) map[string]answer {
	declared := definition.Spec.Validation
	if declared == nil {
		declared = definition.Spec.Versions[0].Schema
	}
	structural, err := schema.NewStructural(declared.OpenAPIV3Schema)
	must(err)
	types, _, err := schemavalidation.NewSchemaValidator(declared.OpenAPIV3Schema)
	must(err)
	rules := cel.NewValidator(structural, true, celconfig.PerCallLimit)
	answers := map[string]answer{}
	for name, given := range cases {
		made := whole(given.New).(object)
		pruning.Prune(made, structural, true)
		defaulting.PruneNonNullableNullsWithoutDefaults(made, structural)
		defaulting.Default(made, structural)
		errors := field.ErrorList{}
		errors = append(errors, schemavalidation.ValidateCustomResource(nil, made, types)...)
		errors = append(errors, listtype.ValidateListSetsAndMaps(nil, structural, made)...)
		if len(errors) == 0 {
			var old interface{}
			if given.Old != nil {
				old = whole(given.Old)
			}
			broken, _ := rules.Validate(context.Background(), nil, structural, made, old, celconfig.RuntimeCELCostBudget)
			errors = append(errors, broken...)
		}
		texts := []string{}
		for _, one := range errors {
			texts = append(texts, one.Error())
		}
		answers[name] = answer{texts, made}
	}
	return answers
}

// whole makes integers of whole numbers, as Kubernetes' JSON decoder does.
func whole(value interface{}) interface{} {
	switch typed := value.(type) {
	case object:
		for key := range typed {
			typed[key] = whole(typed[key])
		}
	case []interface{}:
		for at := range typed {
			typed[at] = whole(typed[at])
		}
	case float64:
		if typed == float64(int64(typed)) {
			return int64(typed)
		}
	}
	return value
}

func read(file string) []byte {
	text, err := os.ReadFile(file)
	must(err)
	return text
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
