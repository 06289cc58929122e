import RetortData

/// What may stand under `data`.
enum DataSchema {
    /// Of a classifier.
    static let labelled = [csv, idx, cifar10, cifar100, images]
    /// Of every family: the kind of its data tells which one a recipe belongs to.
    static let sections = RecipeFamily.allCases.flatMap(\.dataSections)

    static let csv = RecipeSection(
        "csv", "Numeric features and one label column in a CSV file.",
        [
            RecipeField("path", .text, .required, "the file; relative to the recipe, else to the working directory"),
            RecipeField("label", .text, .required, "name of the column that holds the class, 0, 1, 2, …"),
            RecipeField("scale", .number(-1e9...1e9), .defaulted("1"), "every feature is multiplied by this"),
            RecipeField("test", .section(split), .required, "which rows test"),
            rows,
        ])

    private static let split = RecipeSection(
        "test", "Every n-th row, counted from the first, tests; the others train.",
        [
            RecipeField("every", .integer(2...1_000_000), .required, "n")
        ])

    static let idx = RecipeSection(
        "idx", "MNIST's format: train-images-idx3-ubyte, t10k-images-idx3-ubyte and their labels, plain or .gz.",
        [folder, rows] + imageFields)

    static let cifar10 = RecipeSection(
        "cifar10", "CIFAR-10's binary version: data_batch_1.bin … test_batch.bin.", [folder, rows] + imageFields)

    static let cifar100 = RecipeSection(
        "cifar100", "CIFAR-100's binary version: train.bin and test.bin.",
        [
            folder, rows,
            RecipeField("labels", .choice(["fine", "coarse"]), .defaulted("fine"), "100 classes or 20"),
        ] + imageFields)

    static let images = RecipeSection(
        "images", "A folder with train/<class>/*.png|jpg and test/<class>/…, or with class folders and a split.",
        [
            folder,
            RecipeField("height", .integer(1...ImageFolder.Options.largestSide), .required, "pixels"),
            RecipeField("width", .integer(1...ImageFolder.Options.largestSide), .required, "pixels"),
            RecipeField("channels", .choice(["1", "3"]), .defaulted("3"), "1 (grey) or 3 (colour)"),
            RecipeField(
                "sizing", .choice(ImageFolder.Options.Sizing.allCases.map(\.rawValue)), .defaulted("resize"),
                "what becomes of images of another size: resize them, or refuse them (exact)"),
            RecipeField(
                "test", .section(split), .optional,
                "split the class folders themselves; absent: there is a folder test beside train"),
            RecipeField(
                "memory", .bytes, .defaulted("2GiB"),
                "decoded images to keep: those of the test, then those of training where they still fit; others are decoded"
                    + " anew each time, by threads of their own ahead of the step; 0 keeps none"),
            RecipeField(
                "rows", .integer(1...Int(Int32.max)), .optional,
                "only the first training examples, of all classes alike, for teacher and student"),
        ] + imageFields)

    static func folderOptions(_ node: RecipeNode) -> ImageFolder.Options {
        ImageFolder.Options(
            height: node.required("height").integer, width: node.required("width").integer,
            channels: node.required("channels").text == "1" ? 1 : 3,
            sizing: ImageFolder.Options.Sizing(rawValue: node.required("sizing").text) ?? .resize,
            test: (node["test"]?.required("every").integer).map { .every($0) } ?? .folder("test"),
            limits: .init(pixelBytes: node.required("memory").integer))
    }

    private static let folder = RecipeField(
        "path", .text, .required, "the folder; relative to the recipe, else to the working directory")
    private static let rows = RecipeField(
        "rows", .integer(1...Int(Int32.max)), .optional, "only the first training examples, for teacher and student")

    private static let imageFields = [
        RecipeField(
            "normalize",
            .section(
                RecipeSection(
                    "normalize", "(value − mean) / deviation by channel, of values from 0 to 1.",
                    [
                        RecipeField("mean", .list(of: .number(-10...10), count: 1...4), .required, "by channel"),
                        RecipeField("deviation", .list(of: .number(1e-6...10), count: 1...4), .required, "by channel"),
                    ])), .optional,
            "how pixels become numbers; absent: as the teacher's directory says, else as measured on the training images"
        ),
        RecipeField(
            "augment",
            .section(
                RecipeSection(
                    "augment", "Random changes of the training images, the same on every device.",
                    PictureAugmentation.fields + [
                        RecipeField("mixup", .number(0...100), .defaulted("0"), "mixup's alpha; 0: off"),
                        RecipeField("cutmix", .number(0...100), .defaulted("0"), "CutMix's alpha; 0: off"),
                    ])), .optional, "random changes of the training images"),
        RecipeField(
            "strong-augment",
            .section(
                RecipeSection(
                    "strong-augment",
                    "Random changes of the second view of each training image, drawn by themselves; mixup and CutMix are those of augment.",
                    PictureAugmentation.fields)), .optional,
            "a second view of each training image: what losses with `view: strong` look at"),
    ]
}
