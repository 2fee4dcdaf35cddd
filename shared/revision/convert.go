package revision

import (
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// ObjectToProto returns an object id as it stands on the wire; nil for none.
func ObjectToProto(id gitobject.ID) *revisionv1.ObjectId {
	if id.IsZero() {
		return nil
	}
	algorithm := revisionv1.HashAlgorithm_HASH_ALGORITHM_SHA1
	if id.Algorithm() == gitobject.SHA256 {
		algorithm = revisionv1.HashAlgorithm_HASH_ALGORITHM_SHA256
	}
	return &revisionv1.ObjectId{Algorithm: algorithm, Value: id.Bytes()}
}

// ObjectFromProto reads an object id from the wire; absent is none.
func ObjectFromProto(p *revisionv1.ObjectId) (gitobject.ID, error) {
	if p == nil {
		return gitobject.ID{}, nil
	}
	switch p.GetAlgorithm() {
	case revisionv1.HashAlgorithm_HASH_ALGORITHM_SHA1:
		return gitobject.NewID(gitobject.SHA1, p.GetValue())
	case revisionv1.HashAlgorithm_HASH_ALGORITHM_SHA256:
		return gitobject.NewID(gitobject.SHA256, p.GetValue())
	case revisionv1.HashAlgorithm_HASH_ALGORITHM_UNSPECIFIED:
	}
	return gitobject.ID{}, fault.New(fault.Invalid, "object id has hash algorithm %d, which this version does not know", p.GetAlgorithm())
}

// SourceToProto returns a source as it stands on the wire.
func SourceToProto(s Source) *revisionv1.Source {
	return &revisionv1.Source{Repository: s.Repository, Ref: s.Ref}
}

// SourceFromProto reads and checks a source from the wire.
func SourceFromProto(p *revisionv1.Source) (Source, error) {
	s := Source{Repository: p.GetRepository(), Ref: p.GetRef()}
	return s, s.Validate()
}

// ToProto returns a revision as it stands on the wire; nil for none.
func ToProto(r Revision) *revisionv1.Revision {
	if r.IsZero() {
		return nil
	}
	p := &revisionv1.Revision{Commit: ObjectToProto(r.Commit)}
	if !r.ContentID.IsZero() {
		p.ContentId = r.ContentID[:]
	}
	return p
}

// FromProto reads a revision from the wire; absent is none.
func FromProto(p *revisionv1.Revision) (Revision, error) {
	if p == nil {
		return Revision{}, nil
	}
	commit, err := ObjectFromProto(p.GetCommit())
	if err != nil || commit.IsZero() {
		return Revision{}, err
	}
	r := Revision{Commit: commit}
	if len(p.GetContentId()) > 0 {
		r.ContentID, err = contentIDFromBytes(p.GetContentId())
	}
	return r, err
}
