package pipeline

import _ "embed" // of the schemas

// PipelineSchema and ClustersSchema are JSON schemas of the files, for editors. What they let pass may be wrong still: only
// [Load] knows how parts go together.
var (
	//go:embed schema/pipeline.json
	PipelineSchema string
	//go:embed schema/clusters.json
	ClustersSchema string
)
