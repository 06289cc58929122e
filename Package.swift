// swift-tools-version: 6.2
import PackageDescription

/// One set of compiler settings for every Swift target: language mode 6, warnings are errors.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .treatAllWarnings(as: .error),
]

let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "retort",
    products: [
        .executable(name: "retort", targets: ["retort"]),
        .library(name: "RetortDistillation", targets: ["RetortDistillation"]),
        .library(name: "RetortRuntime", targets: ["RetortRuntime"]),
        .library(name: "RetortKernels", targets: ["RetortKernels"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.0.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.0.0"),
    ],
    targets: [
        // The C boundary: headers, loaders, embedded kernel text, row kernels.
        .target(name: "COpenCL"),
        .target(name: "COpenBLAS"),
        .target(name: "CZlib"),
        .target(name: "CZstd"),
        .target(name: "CImages"),
        .target(name: "CPCRE2"),
        .target(name: "CKernels", path: "kernels", sources: ["embed.c"], publicHeadersPath: "include"),
        .target(name: "CRows", linkerSettings: [.linkedLibrary("m")]),

        // The rooms, lowest first. Dependencies go one way.
        .target(name: "RetortSupport", dependencies: [crypto], path: "Sources/Support", swiftSettings: settings),
        .target(
            name: "RetortKernels",
            dependencies: ["COpenCL", "COpenBLAS", "CRows", "CKernels", "RetortSupport"],
            path: "Sources/Kernels", swiftSettings: settings),
        .target(
            name: "RetortRuntime", dependencies: ["RetortKernels", "RetortSupport"],
            path: "Sources/Runtime", swiftSettings: settings),
        .target(
            name: "RetortData", dependencies: ["CZlib", "CZstd", "CImages", "RetortSupport"], path: "Sources/Data",
            swiftSettings: settings),
        .target(
            name: "RetortModels", dependencies: ["CPCRE2", "RetortRuntime", "RetortData", "RetortSupport"],
            path: "Sources/Models", swiftSettings: settings),
        .target(
            name: "RetortDistillation",
            dependencies: ["RetortModels", "RetortRuntime", "RetortKernels", "RetortData", "RetortSupport", yams],
            path: "Sources/Distillation", swiftSettings: settings),
        .target(
            name: "RetortConformance",
            dependencies: [
                "RetortDistillation", "RetortModels", "RetortRuntime", "RetortKernels", "RetortData", "RetortSupport",
            ],
            path: "Sources/Conformance", swiftSettings: settings),
        .executableTarget(
            name: "retort", dependencies: ["RetortConformance", "RetortDistillation", "RetortSupport", argumentParser],
            path: "Sources/retort", swiftSettings: settings),

        .executableTarget(
            name: "DigitsExample",
            dependencies: ["RetortDistillation", "RetortModels", "RetortRuntime", "RetortKernels", "RetortData"],
            path: "Examples/Digits", swiftSettings: settings),

        // One test target per module; Tests/Fixtures holds small goldens.
        .testTarget(name: "SupportTests", dependencies: ["RetortSupport"], swiftSettings: settings),
        .testTarget(
            name: "DataTests", dependencies: ["RetortData", "RetortSupport", "TestSupport"], swiftSettings: settings),
        .target(
            name: "TestSupport", dependencies: ["RetortData", "RetortRuntime", "RetortKernels", "RetortSupport"],
            path: "Tests/TestSupport",
            swiftSettings: settings),
        .testTarget(
            name: "KernelsTests", dependencies: ["RetortKernels", "RetortConformance", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "RuntimeTests", dependencies: ["RetortRuntime", "RetortKernels", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "ModelsTests",
            dependencies: [
                "RetortModels", "RetortRuntime", "RetortKernels", "RetortData", "RetortSupport", "TestSupport",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "DistillationTests",
            dependencies: [
                "RetortDistillation", "RetortModels", "RetortRuntime", "RetortKernels", "RetortData", "RetortSupport",
                "TestSupport",
            ], swiftSettings: settings),
        .testTarget(
            name: "ConformanceTests",
            dependencies: [
                "RetortConformance", "RetortRuntime", "RetortKernels", "RetortData", "RetortSupport", "TestSupport",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "EndToEndTests",
            dependencies: ["RetortDistillation", "RetortRuntime", "RetortSupport", "TestSupport", "retort"],
            swiftSettings: settings),
    ]
)

// DocC is wanted by `make docs` only; nobody else downloads the plugin.
if Context.environment["RETORT_DOCS"] != nil {
    package.dependencies.append(.package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.4.0"))
}
