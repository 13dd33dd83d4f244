package lane

// ProofEvery is for tests of the proof.
const ProofEvery = proofEvery
