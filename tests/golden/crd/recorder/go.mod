module outrider.dev/crd-recorder

go 1.25.0

require (
	k8s.io/apiextensions-apiserver v0.34.2
	k8s.io/apimachinery v0.34.2
	k8s.io/apiserver v0.34.2
	sigs.k8s.io/yaml v1.6.0
)
