package plan

import "github.com/tandem-cd/tandem/synchronizer/internal/object"

// The stages, in order: what others need comes first, what judges others comes last.
const (
	stageDefinitions = iota // namespaces, CRDs and classes
	stagePrerequisites
	stageMain
	stageJudges
	// removals come after everything else, in the opposite order.
	stageRemovals
)

// stageOf returns the stage of a kind.
func stageOf(key object.Key) int {
	switch key.Group {
	case "":
		return coreStage(key.Kind)
	case "apiextensions.k8s.io", "scheduling.k8s.io":
		return stageDefinitions
	case "storage.k8s.io", "node.k8s.io", "networking.k8s.io", "gateway.networking.k8s.io":
		if isClass(key.Kind) {
			return stageDefinitions
		}
	case "rbac.authorization.k8s.io":
		return stagePrerequisites
	case "admissionregistration.k8s.io", "apiregistration.k8s.io":
		return stageJudges
	}
	return stageMain
}

func coreStage(kind string) int {
	switch kind {
	case "Namespace":
		return stageDefinitions
	case "ServiceAccount", "ConfigMap", "Secret", "PersistentVolume", "PersistentVolumeClaim", "ResourceQuota", "LimitRange":
		return stagePrerequisites
	}
	return stageMain
}

func isClass(kind string) bool {
	switch kind {
	case "StorageClass", "RuntimeClass", "IngressClass", "GatewayClass":
		return true
	}
	return false
}

// removalStage is the stage in which an object is removed.
func removalStage(key object.Key) int { return stageRemovals + stageJudges - stageOf(key) }

// Removing reports whether a stage holds removals.
func Removing(stage int) bool { return stage >= stageRemovals }
