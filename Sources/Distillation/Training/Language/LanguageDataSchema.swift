import RetortData
import RetortModels

extension LanguageSource {
    /// What may stand under `data` of a language model that predicts the next token.
    static let sections = [tokens, text]

    private static let path = RecipeField(
        "path", .text, .required, "the file; relative to the recipe, else to the working directory")

    private static let tokens = RecipeSection(
        "tokens", "Rows of token ids, all of one length, in a safetensors file.",
        [
            path,
            RecipeField("train", .text, .defaulted("train"), "the tensor to learn from, [rows, tokens]"),
            RecipeField("test", .text, .defaulted("test"), "the tensor to measure on"),
            RecipeField(
                "plain",
                .section(
                    RecipeSection(
                        "plain", "Plain text for losses `on: plain`.",
                        [
                            RecipeField("tensor", .text, .required, "the tensor, [rows, tokens]")
                        ])), .optional, "plain text for losses `on: plain`"),
        ])

    private static let text = RecipeSection(
        "text",
        "Text: conversations, prompts with their completions or plain text, as JSON lines, JSON array or text file; .gz and .zst too.",
        [
            path,
            RecipeField(
                "test",
                .section(
                    RecipeSection(
                        "test", "What is measured.",
                        [
                            RecipeField("path", .text, .optional, "a file of its own"),
                            RecipeField(
                                "format", .choice(TextFormat.allCases.map(\.rawValue)), .optional,
                                "what the records of path are (default: as data.format, else as the first one tells)"),
                            RecipeField(
                                "every", .integer(2...1_000_000), .optional,
                                "each n-th record, the first among them, which is then not learned"),
                        ])), .required, "what is measured: a file of its own, or every n-th record"),
            RecipeField(
                "plain",
                .section(
                    RecipeSection(
                        "plain", "Plain text for losses `on: plain`: read in order, cut into rows.",
                        [
                            RecipeField("path", .text, .required, "a text file, or JSON lines with text"),
                            RecipeField(
                                "format", .choice(TextFormat.allCases.map(\.rawValue)), .optional,
                                "what its records are, e.g. paragraphs, document (default: as the first one tells)"),
                            RecipeField(
                                "max-length", .integer(2...(1 << 24)), .defaulted("256"), "tokens of a row"),
                        ])), .optional, "plain text for losses `on: plain`"),
            RecipeField(
                "format", .choice(TextFormat.allCases.map(\.rawValue)), .optional,
                "what the records are (default: as the first one tells)"),
            RecipeField(
                "fields", .named(.text), .optional,
                "the file's own names for the format's: {prompt: question, completion: answer}"),
            RecipeField(
                "on-bad-line", .choice(BadLinePolicy.allCases.map(\.rawValue)), .defaulted("error"),
                "a record that cannot be read ends the run, or is left out and counted"),
            RecipeField(
                "tokenizer", .text, .optional,
                "the directory of the tokenizer (default: the student's, else the teacher's)"),
            RecipeField(
                "template", .choice(ChatTemplate.names), .optional,
                "how conversations are written (default: as the tokenizer's files say)"),
            RecipeField("max-length", .integer(2...(1 << 24)), .optional, "tokens of the longest example"),
            RecipeField(
                "truncation", .choice(LongExamplePolicy.allCases.map(\.rawValue)), .defaulted("right"),
                "longer examples lose their end or their beginning, or are left out"),
            RecipeField(
                "targets", .choice(ExampleTargets.allCases.map(\.rawValue)), .defaulted("answers"),
                "which tokens are learned"),
            RecipeField("separator", .text, .defaulted("\"\""), "between a prompt and its completion"),
            RecipeField(
                "appends-end", .flag, .defaulted("true"), "put the end token behind texts and completions"),
            RecipeField(
                "packing", .choice(Packing.allCases.map(\.rawValue)), .defaulted("none"),
                "an example a row; whole examples packed into rows of max-length; or all behind each other, cut into such rows"
            ),
        ])
}
