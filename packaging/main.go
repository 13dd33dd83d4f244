// Command packaging checks what the packages are made of: the Dockerfile, and manifests of
// Kubernetes, which it also prints. It needs no daemon, no cluster and no network.
//
//	packaging dockerfile FILE            lints a Dockerfile
//	packaging manifest FILE              checks the objects of a file
//	packaging kustomize DIRECTORY        builds a kustomization, checks its objects, and prints them
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("want dockerfile, manifest or kustomize, and a path")
	}
	path := args[1]
	if args[0] == "kustomize" {
		objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), path)
		if err != nil {
			return err
		}
		text, err := objects.AsYaml()
		if err != nil {
			return err
		}
		fmt.Printf("%s", text)
		return checkObjects(path, text)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	switch args[0] {
	case "dockerfile":
		return lint(path, text)
	case "manifest":
		return checkObjects(path, text)
	}
	return fmt.Errorf("%q: want dockerfile, manifest or kustomize", args[0])
}

// lint parses a Dockerfile and reports the warnings of BuildKit's parser and of its linter. Rules that
// need the images of FROM are not part of it. It also requires the image of a numeric user.
func lint(path string, text []byte) error {
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var problems []string
	for _, w := range parsed.Warnings {
		problems = append(problems, w.Short)
	}
	stages, _, err := instructions.Parse(parsed.AST, linter.New(&linter.Config{
		Warn: func(rule, _, _, message string, _ []parser.Range) { problems = append(problems, rule+": "+message) },
	}))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	last, user := stages[len(stages)-1], ""
	for _, command := range last.Commands {
		if u, ok := command.(*instructions.UserCommand); ok {
			user = u.User
		}
	}
	if last.BaseName != "scratch" || user == "" || strings.Trim(user, "0123456789:") != "" || strings.HasPrefix(user, "0") {
		problems = append(problems, fmt.Sprintf("the image is from %s with user %q: want scratch, and the number of a user without rights", last.BaseName, user))
	}
	if len(problems) > 0 {
		return fmt.Errorf("%s: %s", path, strings.Join(problems, "; "))
	}
	return nil
}

// checkObjects decodes each object into its type of Kubernetes' API. Unknown fields and wrong types
// are errors.
func checkObjects(path string, text []byte) error {
	count := 0
	for i, document := range bytes.Split(text, []byte("\n---\n")) {
		var head struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(document, &head); err != nil {
			return fmt.Errorf("%s: object %d: %w", path, i+1, err)
		}
		types := map[string]any{
			"v1 Secret": &corev1.Secret{}, "v1 ConfigMap": &corev1.ConfigMap{}, "v1 Service": &corev1.Service{},
			"apps/v1 Deployment": &appsv1.Deployment{}, "policy/v1 PodDisruptionBudget": &policyv1.PodDisruptionBudget{},
		}
		object, ok := types[head.APIVersion+" "+head.Kind]
		if !ok {
			return fmt.Errorf("%s: object %d is a %q of %q: want a kind that this program checks", path, i+1, head.Kind, head.APIVersion)
		}
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			return fmt.Errorf("%s: %s: %w", path, head.Kind, err)
		}
		if d, ok := object.(*appsv1.Deployment); ok {
			if err := checkSelector(d); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		count++
	}
	fmt.Fprintf(os.Stderr, "packaging: %s: %d objects are valid\n", path, count)
	return nil
}

// closing is how long the program may take to end after --drain.
const closing = 5 * time.Second

// checkEnd checks that a pod has the time for preStop and --drain of each container.
func checkEnd(pod *corev1.PodSpec) error {
	grace := 30 * time.Second // the default of Kubernetes
	if s := pod.TerminationGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		var need time.Duration
		for _, arg := range c.Args {
			if text, ok := strings.CutPrefix(arg, "--drain="); ok {
				drain, err := time.ParseDuration(text)
				if err != nil {
					return fmt.Errorf("container %s: %s: %w", c.Name, arg, err)
				}
				need = drain + closing
			}
		}
		if l := c.Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Sleep != nil {
			need += time.Duration(l.PreStop.Sleep.Seconds) * time.Second
		}
		if need > grace {
			return fmt.Errorf("container %s takes up to %v to end, and terminationGracePeriodSeconds is %v", c.Name, need, grace)
		}
	}
	return nil
}

// checkSelector checks what the API server refuses beyond the types.
func checkSelector(d *appsv1.Deployment) error {
	if d.Spec.Selector == nil || len(d.Spec.Selector.MatchLabels) == 0 {
		return errors.New("the Deployment has no selector")
	}
	for key, value := range d.Spec.Selector.MatchLabels {
		if d.Spec.Template.Labels[key] != value {
			return fmt.Errorf("the selector wants %s=%s, which the template of the pods lacks", key, value)
		}
	}
	if err := checkEnd(&d.Spec.Template.Spec); err != nil {
		return err
	}
	mounts := map[string]bool{}
	for _, v := range d.Spec.Template.Spec.Volumes {
		mounts[v.Name] = true
	}
	for _, c := range append(d.Spec.Template.Spec.InitContainers, d.Spec.Template.Spec.Containers...) {
		for _, m := range c.VolumeMounts {
			if !mounts[m.Name] {
				return fmt.Errorf("container %s mounts %s, which is no volume", c.Name, m.Name)
			}
		}
	}
	return nil
}
