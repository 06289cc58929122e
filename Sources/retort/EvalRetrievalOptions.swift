import ArgumentParser
import RetortDistillation
import RetortSupport

/// How an encoder of texts as vectors is measured as a retriever.
struct EvalRetrievalOptions: ParsableArguments {
    @Flag(help: "Let an encoder of vectors find passages for queries (fields query, passages, labels).")
    var retrieval = false

    func of(_ path: String, _ text: EvalTextOptions, every: Int?) -> RetrievalEvaluationData {
        RetrievalEvaluationData(
            path, fields: text.fields?.names ?? [:], length: text.maxLength, every: every, limit: text.limit)
    }
}
